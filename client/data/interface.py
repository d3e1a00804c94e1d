"""What every data adapter offers: its studies with or without their images, and the rows that could not become one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from common.types import BadRow, Study, StudyRecord


class Adapter(Protocol):
    """A folder of one known layout.

    Contract: each row or instance yields exactly one `Study` or one `BadRow`, in a fixed order; an image is decoded
    when its study is yielded and may be dropped by the caller after use, so that memory stays bounded; nothing is
    skipped silently; a missing or unreadable index file raises `DataError` before the first item.
    """

    def written(self) -> str:
        """How its table is written, for people: what stands between its fields, and its encoding.

        Raises:
            DataError: The table cannot be read at all.
        """
        ...

    def records(self) -> Iterator[StudyRecord | BadRow]:
        """What `studies` yields, in its order, without decoding an image: cheap, for counts and plans.

        A study whose image turns out to be damaged is a record here and a bad row there.

        Raises:
            DataError: The folder or its index cannot be read at all.
        """
        ...

    def studies(self) -> Iterator[Study | BadRow]:
        """Studies and bad rows in the order of the index file.

        Raises:
            DataError: The folder or its index cannot be read at all.
        """
        ...
