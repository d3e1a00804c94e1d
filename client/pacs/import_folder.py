"""The folder of an import: what the adapter `dicom` reads, and in a hidden room of it what it is not to see.

reports.csv           one row an accession number that has images and a report
STUDY/INSTANCE.dcm    the images of the studies that those rows name
.import/journal.sqlite3
.import/failed.csv    studies that could not be fetched, and why
.import/waiting       images of studies without a report, or that cannot be paired with one
.import/fetching      the study in flight: emptied at every start, never read
.import/lock

A folder has its place by one rename, after all in it is on the disk; so a crash leaves the study in flight to be
fetched again, and nothing half-written under a name that anyone reads. All of it is its owner's alone.
"""

from __future__ import annotations

import csv
import fcntl
import filecmp
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from client.data.dicom import REPORTS, ROOM_OF_IMPORT
from common.errors import ConfigError
from common.files import flush, replaced_atomically


class ImportFolder:
    """The folder of an import.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        room = root / ROOM_OF_IMPORT
        self.journal_path = room / "journal.sqlite3"
        self._failed, self._lock = room / "failed.csv", room / "lock"
        self._fetching, self._waiting = room / "fetching", room / "waiting"

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Make the folder where there is none, and hold it alone during the block.

        Raises:
            ConfigError: It holds something else, or another import uses it.
        """
        if self.root.exists() and not self._lock.parent.exists() and any(self.root.iterdir()):
            raise ConfigError(f"--out {self.root}: holds what no import put there; name a new folder")
        mask = os.umask(0o077)
        descriptor = None
        try:
            self._waiting.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise ConfigError(f"--out {self.root}: another import is going on here; let it, or end it first") from error
        finally:
            if descriptor is not None:
                os.close(descriptor)
            os.umask(mask)

    def fetching(self) -> Path:
        """An empty folder for the study in flight."""
        if self._fetching.exists():
            shutil.rmtree(self._fetching)
        self._fetching.mkdir()
        return self._fetching

    def keep(self, study_uid: str) -> None:
        """Give the images of the study in flight, if any, their place among those that wait for a pairing."""
        if any(self._fetching.iterdir()):
            flush(self._fetching)
            _move(self._fetching, self._waiting / study_uid)

    def has(self, study_uid: str) -> bool:
        """Whether a study's images are still there: who took its folder away, for a patient who objects, meant it."""
        return (self.root / study_uid).exists() or (self._waiting / study_uid).exists()

    def place(self, study_uid: str, *, paired: bool) -> None:
        """Put a study's images where the adapter reads them, or where it does not.

        What waits is newer than what was paired: a study that had changed was fetched again.
        """
        waiting, ready = self._waiting / study_uid, self.root / study_uid
        if paired and waiting.exists():
            _move(waiting, ready)
        elif not paired and ready.exists():
            _move(ready, waiting)

    def write_reports(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Write the table that the adapter reads, where it says something new: a file that changes is read again."""
        path, draft = self.root / REPORTS, self._lock.with_name(REPORTS)
        _write_table(draft, columns, rows)
        if path.exists() and filecmp.cmp(draft, path, shallow=False):
            draft.unlink()
            return
        draft.replace(path)
        flush(self.root)

    def write_failed(self, rows: Iterable[Sequence[str]]) -> Path:
        """Write the list of the studies that could not be fetched."""
        _write_table(self._failed, ("study_instance_uid", "study_date", "reason"), rows)
        return self._failed


def _move(source: Path, target: Path) -> None:
    """Give a folder another place; what was there goes first, and a crash in between leaves the newer one."""
    if target.exists():
        shutil.rmtree(target)
    source.rename(target)
    flush(target.parent)
    flush(source.parent)


def _write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with replaced_atomically(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
