"""An audit log that is open for appending: one process, one line an entry, on the disk before it counts.

The server keeps one over all its runs, and each site its own. `append` flushes the entry before it returns; a crash
costs at most an entry that nobody was told of. Each round the two sides exchange what `show` gives and `receive`
takes, and each then holds in its own log what the other one vouched for (`common/evidence/exchange.py`).
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock

from common.errors import TrustError
from common.evidence.exchange import Evidence, ProvenEntry
from common.evidence.log_entries import FORMAT, Kind, Value
from common.evidence.log_files import LOG_FILE, read_given_head, stored_log, write_given_head
from common.evidence.log_heads import Extension, SignedHead, check_consistency
from common.evidence.log_trail import Counterpart, Trail, head_fields
from common.files import write_atomically
from common.trust.keys import SigningKey

_LOGGER = logging.getLogger(__name__)


class AuditLog:
    """One side's log. Threads may share it; no second process can open it meanwhile.

    After an error of the disk nothing more is appended: what is on it is not known. Opening the log anew finds out.

    Args:
        folder: Where its files lie; made, for its owner alone, where there is none.
        owner: Whose log it is, by the name that the counterpart knows.
        key: Signs every head.

    Attributes:
        torn_bytes: Length of the last line that a crash cut short, and that opening the log cut off; 0 without one.

    Raises:
        TrustError: An entry does not hold (the first one is named), the log is another owner's or key's, another
            process has it open, or it cannot be read or written.
    """

    def __init__(self, folder: Path, *, owner: str, key: SigningKey) -> None:
        self._folder = folder
        self._path = folder / LOG_FILE
        self._key = key
        self._lock = RLock()
        self._descriptor: int | None = None
        self._given: SignedHead | None = None
        with self._failing_closed():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            _lock(self._descriptor, self._path)
            self._trail, self.torn_bytes = self._recovered(self._descriptor)
            self._open_as(owner)

    def close(self) -> None:
        """Close the file and let another process open it; what was written is on the disk already."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def __enter__(self) -> AuditLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def trail(self) -> Trail:
        """The entries; not to be added to from outside."""
        return self._trail

    def append(self, kind: Kind, *, content: str | None = None, **fields: Value) -> SignedHead:
        """Write what happened; it is on the disk when this returns.

        Args:
            kind: What happened.
            content: Digest of what it happened to.
            fields: As the kind lists them (`common/evidence/log_entries.py`).

        Returns:
            The head that the entry makes.

        Raises:
            TrustError: A field is missing, unknown or not of its form, and nothing was written; or the log cannot be
                written, and the entry may be in it all the same.
        """
        return self._append(kind, content, fields)

    def _append(self, kind: Kind, content: str | None, fields: Mapping[str, Value]) -> SignedHead:
        with self._lock:
            if self._descriptor is None:
                raise TrustError(f"{self._path}: is closed; open the log anew")
            time = datetime.now(UTC).isoformat(timespec="milliseconds")
            line = self._trail.next_line(kind, time=time, key=self._key, content=content, fields=fields)
            with self._failing_closed():
                _write_whole(self._descriptor, line + b"\n")
                os.fsync(self._descriptor)
                return self._trail.add(line)

    def extension_for(self, *, known: int) -> Extension:
        """The head to send to somebody, remembered as given away before this returns.

        Args:
            known: Size of the head that they hold, as they say; 0 where they hold none.

        Raises:
            TrustError: They hold more than this log has: an older copy was put in its place. Or it cannot be written.
        """
        with self._lock:
            try:
                extension = self._trail.extension(known)
            except TrustError as error:
                raise TrustError(f"{self._path}: {error}; an older copy was put in its place") from error
            self._note_given(extension.head)
            return extension

    def show(self, counterpart: Counterpart, *, known: Iterable[int] = (), entries: Iterable[int] = ()) -> Evidence:
        """What to send to somebody beside a message; the head in it is remembered as given away before this returns.

        Args:
            counterpart: Who gets it.
            known: Sizes of the heads that they may hold; 0 stands for none.
            entries: Numbers of the entries that the message is about.

        Raises:
            TrustError: They hold more than this log has, as they say; or it cannot be written.
        """
        with self._lock:
            held = self._trail.held(counterpart)
            evidence = Evidence(
                held=held.content.size if held else 0,
                extensions=tuple(map(self._trail.extension, known)),
                entries=tuple(ProvenEntry(self._trail[number], self._trail.inclusion(number)) for number in entries),
            )
            if evidence.extensions:
                self._note_given(self._trail.head)
            return evidence

    def _note_given(self, head: SignedHead) -> None:
        """Write the head that is about to leave, once however many get it."""
        if head != self._given:
            with self._failing_closed():
                write_given_head(self._folder, head)
            self._given = head

    def receive(self, extension: Extension, *, counterpart: Counterpart) -> SignedHead:
        """Check what somebody sent, and note their head; one that is held already is not noted again.

        Returns:
            The head of this log afterwards.

        Raises:
            TrustError: Their head does not extend the one that is held of them; nothing was noted.
        """
        with self._lock:
            held = self._trail.held(counterpart)
            try:
                check_consistency(extension, held=held, key=counterpart.public_key)
            except TrustError as error:
                raise TrustError(f"the head of {counterpart.owner}: {error}") from error
            if held == extension.head:
                return self._trail.head
            return self._append(Kind.HEAD_RECEIVED, None, head_fields(counterpart, extension))

    def copy_to(self, folder: Path) -> None:
        """Put a copy of the log into a folder, a run's for example, in place of the last one: whole or not at all.

        Raises:
            TrustError: The log cannot be read, or the copy not be written.
        """
        with self._lock, self._failing_closed():
            write_atomically(folder / LOG_FILE, self._path.read_bytes())

    def _recovered(self, descriptor: int) -> tuple[Trail, int]:
        """What is in the file, checked; a line that a crash cut short is cut off, but nothing before it."""
        content = self._path.read_bytes()
        stored = stored_log(self._path, content, read_given_head(self._folder))
        if stored.torn_bytes:
            os.ftruncate(descriptor, len(content) - stored.torn_bytes)
            os.fsync(descriptor)
            _LOGGER.warning(
                "%s: the line of entry %d was cut short by a crash; its %d bytes were cut off",
                self._path,
                len(stored.trail) + 1,
                stored.torn_bytes,
            )
        return stored.trail, stored.torn_bytes

    def _open_as(self, owner: str) -> None:
        """Begin the log, or see that it is this owner's."""
        if len(self._trail) == 0:
            self.append(Kind.LOG_OPENED, owner=owner, public_key=self._key.public.hex, format=FORMAT)
            _flush_folder(self._folder)
            return
        if self._trail.owner != Counterpart(owner, self._key.public):
            raise TrustError(
                f"{self._path}: entry 1: is the log of {self._trail.owner.owner} under another name or key than "
                f"{owner} has now; a new key begins a new log in a folder of its own"
            )

    @contextmanager
    def _failing_closed(self) -> Iterator[None]:
        """Close the log on whatever interrupts the block: what is on the disk is not known then.

        To flush again proves nothing after a flush that failed (fsync(2)).
        """
        try:
            yield
        except OSError as error:
            self.close()
            raise TrustError(
                f"{self._path}: cannot be read or written ({error.strerror}); mend that, then open the log anew"
            ) from error
        except BaseException:
            self.close()
            raise


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise TrustError(f"{path}: another process has it open; a log has one writer") from error


def _write_whole(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _flush_folder(folder: Path) -> None:
    """Wait until the folder's entries are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
