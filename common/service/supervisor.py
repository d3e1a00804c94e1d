"""Keeps child processes running: starts them, starts again what has ended, and ends them all.

A child that ends is started again after 0.5 s, then after twice as long each time, up to 30 s; after a minute without
an end it counts as healthy and the wait is short again. Nothing here sleeps: whoever owns the supervisor calls `tick`,
a few times a second, from the thread that called `start`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TypedDict

from common.service.log_format import JsonFormatter
from common.service.processes import ChildSpec, Process, child_logger

FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 30.0
HEALTHY_SECONDS = 60.0
GRACE_SECONDS = 8.0
"""How long `stop` waits before it kills."""

_MOST_DOUBLINGS = 16
_LOG_BYTES = 4 << 20
_OLDER_LOGS = 4
_POLL_SECONDS = 0.02

_log = logging.getLogger("wardround.supervisor")


class ChildStatus(TypedDict):
    """A child now: `pid` and `up_seconds` are None between two lives."""

    pid: int | None
    restarts: int
    up_seconds: float | None


class Supervisor:
    """Children that should run, and do.

    Args:
        children: What to run, started in this order.
        log_folder: Where `NAME.log` of each child's output goes, at most 20 MiB for each; None for the log alone.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        children: Sequence[ChildSpec],
        *,
        log_folder: Path | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._children = {spec.name: _Child(spec, clock) for spec in children}
        self._log_folder = log_folder
        self._handlers: dict[str, logging.Handler] = {}

    def start(self) -> None:
        """Start all of them.

        Raises:
            OSError: The folder of logs cannot be written.
        """
        self._open_logs()
        for child in self._children.values():
            child.start()

    def tick(self) -> None:
        """See what has ended, and start again what has waited for long enough."""
        for child in self._children.values():
            child.tick()

    def kill(self, name: str) -> None:
        """End a child now, and what it started; it starts again as one that ended by itself."""
        process = self._children[name].process
        if process is not None:
            process.kill()

    def stop(self) -> None:
        """End all of them: ask, wait, kill. Returns within `GRACE_SECONDS` and a few."""
        processes = [child.process for child in self._children.values() if child.process is not None]
        for process in processes:
            process.terminate()
        if not _all_end(processes, within_seconds=GRACE_SECONDS):
            for process in processes:
                process.kill()
            _all_end(processes, within_seconds=GRACE_SECONDS)
        for process in processes:
            process.last_output()
        for child in self._children.values():
            child.retire()
        self._close_logs()

    def status(self) -> dict[str, ChildStatus]:
        """Each child now."""
        return {name: child.status() for name, child in self._children.items()}

    def generation(self, name: str) -> int:
        """How often a child was started: another number is another life of it."""
        return self._children[name].starts

    def _open_logs(self) -> None:
        if self._log_folder is None:
            return
        self._log_folder.mkdir(parents=True, exist_ok=True)
        for name in self._children:
            handler = RotatingFileHandler(
                self._log_folder / f"{name}.log", maxBytes=_LOG_BYTES, backupCount=_OLDER_LOGS, encoding="utf-8"
            )
            handler.setFormatter(JsonFormatter(name))
            self._handlers[name] = handler
            child_logger(name).addHandler(handler)
            child_logger(name).setLevel(logging.INFO)

    def _close_logs(self) -> None:
        for name, handler in self._handlers.items():
            child_logger(name).removeHandler(handler)
            handler.close()
        self._handlers.clear()


class _Child:
    """A child over all its lives."""

    def __init__(self, spec: ChildSpec, clock: Callable[[], float]) -> None:
        self.spec = spec
        self.process: Process | None = None
        self.starts = 0
        self._wanted = False
        self._clock = clock
        self._failures = 0
        self._since = 0.0
        self._next_start = 0.0

    def start(self) -> None:
        if self.starts > 0 and self.spec.before_restart is not None:
            self._prepare(self.spec.before_restart)
        self._wanted = True
        self.starts += 1
        self._since = self._clock()
        try:
            self.process = Process(self.spec)
        except OSError as error:
            self._wait(f"could not be started ({error.strerror})")

    def tick(self) -> None:
        if self.process is None:
            if self._wanted and self._clock() >= self._next_start:
                self.start()
            return
        status = self.process.ended()
        if status is not None:
            self.process = None
            self._wait(f"was killed by signal {-status}" if status < 0 else f"ended with status {status}")

    def retire(self) -> None:
        self.process, self._wanted = None, False

    def status(self) -> ChildStatus:
        runs = self.process is not None
        return {
            "pid": self.process.pid if self.process is not None else None,
            "restarts": max(0, self.starts - 1),
            "up_seconds": self._clock() - self._since if runs else None,
        }

    def _prepare(self, before_restart: Callable[[], None]) -> None:
        try:
            before_restart()
        except Exception:
            # What it prepares may be in order all the same, and a supervisor that ends helps nobody.
            _log.exception("what precedes a restart of %s failed", self.spec.name)

    def _wait(self, what: str) -> None:
        if self._clock() - self._since >= HEALTHY_SECONDS:
            self._failures = 0
        seconds = min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0**self._failures)
        self._failures = min(self._failures + 1, _MOST_DOUBLINGS)
        self._next_start = self._clock() + seconds
        _log.warning("%s %s; starts again in %.1f s", self.spec.name, what, seconds)


def _all_end(processes: Sequence[Process], *, within_seconds: float) -> bool:
    deadline = time.monotonic() + within_seconds
    while [process for process in processes if process.ended() is None]:
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
