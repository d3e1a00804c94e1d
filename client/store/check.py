"""What was prepared, held byte for byte against what was written: `wardround site check --deep`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from client.store.index import indexes_in, unlike
from client.store.store import PREPARED_FOLDER


@dataclass(frozen=True, kw_only=True)
class Whole:
    """Prepared studies of one encoder that are as they were written.

    Attributes:
        num_studies: The hospital's own.
        num_public: The public ones.
        num_bytes: Of all their files.
    """

    num_studies: int
    num_public: int
    num_bytes: int


def check_whole(state_folder: Path) -> list[Whole]:
    """Read all that is prepared in a state folder.

    Raises:
        DataError: A file is not what was written, or cannot be read; the first one is named.
    """
    found = []
    for index in indexes_in(state_folder / PREPARED_FOLDER).values():
        for error in unlike(state_folder / PREPARED_FOLDER, index):
            raise error
        size = sum(file.num_bytes for file in index.files)
        found.append(Whole(num_studies=index.num_own, num_public=index.num_public, num_bytes=size))
    return found
