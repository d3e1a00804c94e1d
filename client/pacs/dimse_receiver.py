"""What takes instances that an archive sends over DIMSE, whichever association they come by (DICOM PS3.4 B, C.4)."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Lock

from pynetdicom import Association, evt

from client.pacs.faults import StudyRefused
from client.pacs.landing import Landing

_SUCCESS = 0x0000
_OUT_OF_RESOURCES = 0xA700
_NOT_ASKED_FOR = 0x0124
"""Not authorised (PS3.7 C.5.20)."""


@dataclass
class Receiver:
    """Takes the instances of the fetch that is going on, if there is one; pynetdicom calls it from its threads.

    Attributes:
        landing: Of that fetch.
        fault: What went wrong with what came.
    """

    landing: Landing | None = None
    fault: Exception | None = None
    _num_bytes: Counter[Association] = field(default_factory=Counter)
    _lock: Lock = field(default_factory=Lock)

    @contextmanager
    def into(self, landing: Landing) -> Iterator[None]:
        """Take instances during the block; what went wrong with one is raised at its end."""
        self.landing, self.fault = landing, None
        self._num_bytes.clear()
        try:
            yield
        finally:
            self.landing = None
            if self.fault is not None:
                raise self.fault

    @property
    def handlers(self) -> list[tuple[evt.EventType, object]]:
        """For pynetdicom."""
        return [(evt.EVT_C_STORE, self._store), (evt.EVT_DATA_RECV, self._count)]

    def _store(self, event: evt.Event) -> int:
        with self._lock:  # an archive may send over several associations at a time
            self._num_bytes[event.assoc] = 0
            if self.landing is None:
                return _NOT_ASKED_FOR
            try:
                self.landing.land(event.encoded_dataset())
            except Exception as error:  # this is a thread of pynetdicom's: it is raised in ours
                self.fault = error
                return _OUT_OF_RESOURCES
            return _SUCCESS

    def _count(self, event: evt.Event) -> None:
        """An instance is held in memory while it comes: hang up where it is too long."""
        self._num_bytes[event.assoc] += len(event.data)
        try:
            Landing.check_bytes(self._num_bytes[event.assoc])
        except StudyRefused as error:
            self.fault = error
            # Aborting leaves whoever waits for an answer waiting; a connection that has gone does not.
            with suppress(OSError):
                event.assoc.dul.socket.socket.shutdown(socket.SHUT_RDWR)
