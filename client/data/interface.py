"""What every data adapter offers: its studies with or without their images, those that lack a half, and bad rows."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Protocol

from common.types import BadRow, Study, StudyRecord, Unpaired


class Adapter(Protocol):
    """A folder of one known layout.

    Contract: each study yields exactly one `Study`, `Unpaired` or `BadRow`, and so does each row or file that belongs
    to none, in a fixed order. Images are decoded when their study is yielded and may be dropped by the caller after
    use, so that memory stays bounded; several of one study are views of one record. A study is unpaired where its
    archive has no report or names no image, and comes with its images where it has some; an image that is named and
    missing is a bad row. Nothing is skipped silently; a missing or unreadable index file raises `DataError` before the
    first item.
    """

    def written(self) -> str:
        """How its table is written, for people: what stands between its fields, and its encoding.

        Raises:
            DataError: The table cannot be read at all.
        """
        ...

    def records(self) -> Iterator[StudyRecord | Unpaired | BadRow]:
        """What `studies` yields, in its order, without decoding an image: cheap, for counts and plans.

        A study whose image turns out to be damaged is a record here and a bad row there.

        Raises:
            DataError: The folder or its index cannot be read at all.
        """
        ...

    def studies(self) -> Iterator[Study | Unpaired | BadRow]:
        """Studies, unpaired ones and bad rows in the order of the index.

        Raises:
            DataError: The folder or its index cannot be read at all.
        """
        ...

    def named(self, study_ids: Set[str]) -> Iterator[Study | Unpaired | BadRow]:
        """Of what `studies` yields, that of these identifiers; no image of another study is decoded.

        Raises:
            DataError: The folder or its index cannot be read at all.
        """
        ...
