"""One child process: what it is, and one life of it from start to end."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from common.service.quiet import QUIET

_LAUNCHER = Path(__file__).with_name("launcher.py")
_LONGEST_LINE_BYTES = 16_384
_LAST_OUTPUT_SECONDS = 1.0
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, kw_only=True)
class ChildSpec:
    """What a supervisor keeps running.

    Attributes:
        name: Short and unique; the child's logger is `wardround.NAME`.
        command: Program and arguments; no shell.
        environment: Set on top of the supervisor's own environment and `QUIET`.
        before_restart: Called before each start but the first, in the thread that ticks: it should end within seconds.
            An error is logged, and the child is started all the same.
        on_line: Called with each line of output, in a thread of its own.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    before_restart: Callable[[], None] | None = None
    on_line: Callable[[str], None] | None = None


class Process:
    """A child that was started, in a process group of its own: what it starts ends with it.

    Start it from a thread that lives as long as it should: the kernel takes the end of the thread that started a child
    for the parent's death (prctl(2)).

    Args:
        spec: What to run.

    Raises:
        OSError: The system has no room for another process.
    """

    def __init__(self, spec: ChildSpec) -> None:
        self._spec = spec
        self._log = child_logger(spec.name)
        self._popen = subprocess.Popen(  # noqa: S603 - the command is the installation's own, and no shell reads it
            [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), *spec.command],
            env=os.environ | QUIET | {"PYTHONUNBUFFERED": "1"} | dict(spec.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        self._reader = threading.Thread(
            target=self._read, args=(self._popen.stdout,), name=f"output of {spec.name}", daemon=True
        )
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its process id, which is that of its group."""
        return self._popen.pid

    def ended(self) -> int | None:
        """Its exit status, minus the signal that killed it; None while it runs. Whatever it started ends with it."""
        if self._popen.returncode is None and self._is_dead():
            # The group is killed before its leader is reaped: until then nothing else can have got its number.
            self.kill()
            self._popen.wait()
        return self._popen.returncode

    def terminate(self) -> None:
        """Ask it, and whatever it started, to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it, and whatever it started."""
        self._signal(signal.SIGKILL)

    def last_output(self) -> None:
        """Wait, a second at most, until the output of a process that has ended was read."""
        self._reader.join(_LAST_OUTPUT_SECONDS)

    def _is_dead(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _signal(self, number: signal.Signals) -> None:
        if self._popen.returncode is not None:
            return
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            # Between fork and setpgid there is no such group yet; the process is there, for it was not reaped.
            os.kill(self.pid, number)

    def _read(self, output: IO[bytes]) -> None:
        with output:
            for raw in iter(lambda: output.readline(_LONGEST_LINE_BYTES), b""):
                line = _COLOUR.sub("", raw.decode(errors="replace")).rstrip()
                self._log.info(line, extra={"child": self._spec.name})
                self._hand_over(line)

    def _hand_over(self, line: str) -> None:
        if self._spec.on_line is None:
            return
        try:
            self._spec.on_line(line)
        except Exception:
            # An unread pipe fills, and a child that cannot write hangs: reading goes on whatever the listener does.
            self._log.exception("a line of output could not be handled")


def child_logger(name: str) -> logging.Logger:
    """The logger of a child's output."""
    return logging.getLogger(f"wardround.{name}")
