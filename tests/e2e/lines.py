"""A hospital's line, between two ports of loopback: so many bytes a second each way, and down at will, in two ways."""

from __future__ import annotations

import contextlib
import math
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

BUFFER_BYTES = 32 << 10
"""What the line holds of each connection and direction, beside what the system does."""

_PIECE_BYTES = 2 << 10
_LOOK_SECONDS = 0.02
_ABORT = struct.pack("ii", 1, 0)
"""SO_LINGER of no seconds: closing is a reset."""


class Line:
    """Carries connections to a port.

    Args:
        target: Port of loopback.
        bytes_per_second: Of all connections together, each way.
        only_from: Address that connections have to come from; others are reset, as by a firewall. "" takes all.
    """

    def __init__(self, target: int, *, bytes_per_second: float = math.inf, only_from: str = "") -> None:
        self.bytes_per_second = bytes_per_second
        self.num_bytes = [0, 0]
        """Carried so far: to the target, and back."""
        self.num_refused = 0
        self._target, self._only_from = target, only_from
        self._up, self._is_cut, self._ended = threading.Event(), False, threading.Event()
        self._up.set()
        self._free_at, self._pace = [0.0, 0.0], [threading.Lock(), threading.Lock()]
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        self.port: int = self._listener.getsockname()[1]

    def silence(self) -> None:
        """Packets vanish, and nobody is told."""
        self._up.clear()

    def cut(self) -> None:
        """Connections are reset, those that are open and those that come."""
        self._is_cut = True
        for one in list(self._open):
            _reset(one)

    def mend(self) -> None:
        """Carry again."""
        self._is_cut = False
        self._up.set()

    @contextmanager
    def carrying(self) -> Iterator[Line]:
        """Carry, for the block."""
        accepting = threading.Thread(target=self._accept, name="line", daemon=True)
        accepting.start()
        try:
            yield self
        finally:
            self._ended.set()
            self.cut()
            self.mend()
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            accepting.join(5)
            for thread in threading.enumerate():
                if thread.name == f"line {self.port}":
                    thread.join(5)

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                near, caller = self._listener.accept()
            except OSError:
                return
            is_stranger = caller[0] != self._only_from != ""
            self.num_refused += is_stranger
            if self._is_cut or is_stranger:
                _reset(near)
                continue
            far = socket.socket()
            far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
            try:
                far.connect(("127.0.0.1", self._target))
            except OSError:
                _reset(near)
                far.close()
                continue
            self._open |= {near, far}
            left = threading.Semaphore(0)
            for way, (source, sink) in enumerate([(near, far), (far, near)]):
                threading.Thread(
                    target=self._carry, args=(source, sink, way, left), name=f"line {self.port}", daemon=True
                ).start()

    def _carry(self, source: socket.socket, sink: socket.socket, way: int, left: threading.Semaphore) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(_PIECE_BYTES):
                self._rest(way, len(piece))
                while not self._up.wait(_LOOK_SECONDS):
                    if self._ended.is_set():
                        break
                sink.sendall(piece)
                self.num_bytes[way] += len(piece)
            sink.shutdown(socket.SHUT_WR)
        if left.acquire(blocking=False):  # the other direction has ended
            for one in (source, sink):
                self._open.discard(one)
                one.close()
        else:
            left.release()

    def _rest(self, way: int, num_bytes: int) -> None:
        """Wait until so many bytes are across."""
        with self._pace[way]:
            begin = max(time.monotonic(), self._free_at[way])
            self._free_at[way] = begin + num_bytes / self.bytes_per_second
        time.sleep(max(0.0, self._free_at[way] - time.monotonic()))


def _reset(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        one.shutdown(socket.SHUT_RDWR)
    one.close()
