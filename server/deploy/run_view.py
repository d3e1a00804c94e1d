"""A run as `wardround server run` shows it: a bar over its rounds, and a line for whatever a person should know.

Where there is no terminal, a line says what is waited for at least every ten seconds: an operator who sees nothing does
not know whether anything happens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from common.console import shown
from common.wire.preparing import preparing_of
from server.report.words import drop_reason

LONGEST_SILENCE_SECONDS = 8.0
"""A tick that comes late still keeps the ten seconds."""


def not_ready_in_words(reason: str) -> str:
    """Why a hospital is waited for, from the reason code that it gave."""
    preparing = preparing_of(reason)
    return drop_reason(reason) if preparing is None else f"is {preparing.in_words()}"


class RunView:
    """Shows events of a run as they come; `tick` is to be called every second or so.

    Args:
        console: Where to.
        rounds: Rounds of the run.
        clock: Seconds that never go back.
    """

    def __init__(self, console: Console, *, rounds: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._rounds = rounds
        self._clock = clock
        self._doing = "waiting for the server"
        self._since = self._spoken = clock()
        self._asked: Sequence[str] = ()
        self._answered = 0
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("Training at the hospitals"),
            BarColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self.progress.add_task("rounds", total=rounds, note=self._doing)

    def show(self, event: Mapping[str, Any]) -> None:
        """Show one event."""
        kind = event["event"]
        if kind == "waiting":
            self._waiting(event)
        elif kind == "round_opened":
            self._opened(event)
        elif kind == "site_answered":
            self._answered += 1
            if event["problem"] is not None:
                self._say(f"{self._doing}: {event['site']} dropped, it {drop_reason(event['problem'])}")
        elif kind == "round_committed":
            self.progress.update(self._task, completed=event["rounds"])
            if not self._console.is_terminal:
                self._say(f"{self._doing}: {event['admitted']} hospitals, {event['outcome']}")
        elif kind == "interrupted":
            self._say("cut short; the server goes on from the last checkpoint")
        self._note()

    def tick(self) -> None:
        """Let time pass: say what is waited for where nothing was said for long."""
        self._note()
        if not self._console.is_terminal and self._clock() - self._spoken >= LONGEST_SILENCE_SECONDS:
            self._say(f"{self._now()}, {self._clock() - self._since:.0f} s so far")

    def _waiting(self, event: Mapping[str, Any]) -> None:
        not_ready = event["not_ready"]
        waited_for = [f"{site} {not_ready_in_words(reason)}" for site, reason in sorted(not_ready.items())]
        self._do(f"{len(event['here'])} hospitals are ready" + "".join(f"; {one}" for one in waited_for))
        if waited_for:
            self._say(self._doing)

    def _opened(self, event: Mapping[str, Any]) -> None:
        number, self._asked, self._answered = event["round"], event["sites"], 0
        self._do(f"round {number} of {self._rounds}" if number <= self._rounds else "last measurement")

    def _do(self, doing: str) -> None:
        if doing != self._doing:
            self._doing, self._since = doing, self._clock()

    def _now(self) -> str:
        if not self._asked or self._answered >= len(self._asked):
            return self._doing
        return f"{self._doing}, {self._answered} of {len(self._asked)} hospitals have answered"

    def _note(self) -> None:
        self.progress.update(self._task, note=shown(self._now()))

    def _say(self, text: str) -> None:
        self._spoken = self._clock()
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
