"""Short-lived children, and waiting for what they do."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.service.processes import ChildSpec


@dataclass
class Clock:
    """Seconds that pass when a test says so."""

    now: float = 100.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def python(name: str, script: str, **attributes: Any) -> ChildSpec:
    """A child that runs a script."""
    return ChildSpec(name=name, command=(sys.executable, "-S", "-c", script), **attributes)


def until(condition: Callable[[], bool], *, seconds: float = 15.0) -> None:
    """Wait for something that happens in another process or thread."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether a process runs: a zombie that nobody has reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
