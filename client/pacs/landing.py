"""Where the instances of one series land: files without a meaning yet, bounded in size and number."""

from __future__ import annotations

import os
from pathlib import Path

from client.pacs.faults import StudyRefused
from common.files import named_in_errors

MOST_INSTANCE_BYTES = 2 << 30
"""Longest instance that is taken: a breast tomosynthesis takes half of it."""

MOST_INSTANCES = 20_000
"""Most instances of a series that are taken."""


class Landing:
    """A folder for the instances of one series.

    Args:
        folder: Is there; holds nothing of another series under the same prefix.
        prefix: Begins each file's name.
    """

    def __init__(self, folder: Path, prefix: str) -> None:
        self._folder = folder
        self._prefix = prefix
        self.paths: list[Path] = []
        """The files, in the order in which they came."""

    def land(self, content: bytes) -> None:
        """Write one instance, a DICOM Part 10 file, to the disk.

        Raises:
            StudyRefused: It is too long, or one too many.
            OSError: The disk is full.
        """
        self.check_bytes(len(content))
        if len(self.paths) >= MOST_INSTANCES:
            raise StudyRefused(f"a series of more than {MOST_INSTANCES:,} instances, which is not taken")
        path = self._folder / f"{self._prefix}-{len(self.paths)}"
        with named_in_errors(path), path.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self.paths.append(path)

    @staticmethod
    def check_bytes(num_bytes: int) -> None:
        """Check an instance's length while it is still coming.

        Raises:
            StudyRefused: It is too long.
        """
        if num_bytes > MOST_INSTANCE_BYTES:
            raise StudyRefused(f"an instance of more than {MOST_INSTANCE_BYTES >> 30} GiB, which is not taken")
