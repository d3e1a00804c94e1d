"""Progress of a run on the terminal: a bar over rounds or a grid's cells, and a line for each site that was dropped."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from common.console import shown
from server.checkpoint import RunState
from server.report.words import drop_reason

PHASES = {
    "prepare": "Reading and encoding studies",
    "public_fit": "Fitting the first model to the public anchors",
    "calibrate": "Choosing the private settings on the public anchors",
    "rounds": "Training at the sites",
    "grid": "Attacking the rules",
    "remedies": "Trying the remedies",
    "evaluation": "Measuring on held-out patients",
}
MEASUREMENT = "last measurement"


class TerminalWatcher:
    """A `Watcher` that draws on a terminal and writes plain lines elsewhere.

    Args:
        console: Where to; standard error, so that standard output holds the result alone.
        rounds: Rounds of the run.
    """

    def __init__(self, console: Console, *, rounds: int) -> None:
        self._console = console
        self._rounds = rounds
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._answered = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def phase(self, name: str) -> None:
        """See `Watcher`."""
        if self._task is not None:
            self._progress.update(self._task, total=1, completed=1)
        total = self._rounds if name == "rounds" else None
        self._task = self._progress.add_task(PHASES[name], total=total, note="")
        if not self._console.is_terminal:
            self._console.print(PHASES[name])

    def studies_read(self, num_studies: int) -> None:
        """See `Watcher`."""
        self._note(f"{num_studies} studies")

    def widths_measured(self, number: int, of: int) -> None:
        """See `Watcher`."""
        if self._task is not None:
            self._progress.update(self._task, total=of, completed=number)
        self._note(f"{number} of {of} widths")

    def foretold(self, sentence: str) -> None:
        """See `Watcher`."""
        self._console.print(sentence, markup=False, highlight=False, soft_wrap=True)

    def cell_begins(self, label: str, *, number: int, of: int) -> None:
        """See `GridWatcher`."""
        if self._task is not None:
            self._progress.update(self._task, total=of, completed=number - 1)
        self._note(f"{number} of {of}: {label}")
        if not self._console.is_terminal:
            self._console.print(f"{number} of {of}: {label}", markup=False, highlight=False)

    def round_opened(self, round_number: int, asked: tuple[str, ...]) -> None:
        """See `Observer`."""
        self._answered = 0
        self._asked = len(asked)
        label = f"round {round_number} of {self._rounds}" if round_number <= self._rounds else MEASUREMENT
        self._label = label
        self._note(f"{label}, 0 of {len(asked)} sites")

    def site_answered(self, site: str, problem: str | None) -> None:
        """See `Observer`."""
        self._answered += 1
        self._note(f"{self._label}, {self._answered} of {self._asked} sites")
        if problem is not None:
            self._console.print(f"{self._label}: {site} dropped, it {drop_reason(problem)}", markup=False)

    def round_committed(self, state: RunState) -> None:
        """See `Observer`."""
        if self._task is not None:
            self._progress.update(self._task, completed=state.rounds_completed)
        if not self._console.is_terminal:
            self._console.print(f"{self._label}: {self._came_of(state)}", highlight=False)

    def _came_of(self, state: RunState) -> str:
        if self._label == MEASUREMENT:
            return f"{self._answered} of {self._asked} sites"
        last = state.rounds[-1]
        return f"{len(last['admitted'])} of {self._asked} sites, {last['outcome']}"

    def _note(self, text: str) -> None:
        if self._task is not None:
            self._progress.update(self._task, note=shown(text))
