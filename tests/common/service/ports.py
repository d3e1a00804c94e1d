"""Ports of loopback."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


def free_port() -> int:
    """A port that nothing listens on."""
    with taken_port() as port:
        return port


@contextmanager
def taken_port() -> Iterator[int]:
    """A port that something listens on, for the block."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port: int = listener.getsockname()[1]
        yield port
