"""A service ends when it is told to: SIGTERM from a service manager, SIGINT from a terminal."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def end_by_signal() -> Iterator[threading.Event]:
    """Lend an event that SIGTERM and SIGINT set while the block runs; only from the main thread (`signal.signal`)."""
    end = threading.Event()

    def set_end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - what `signal` calls
        end.set()

    before = {number: signal.signal(number, set_end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield end
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
