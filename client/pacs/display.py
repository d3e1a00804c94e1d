"""What an import shows: a bar while it goes, a line now and then where there is no terminal, and counts at its end.

Identifiers of studies stand in files of the folder alone, never on a terminal or in a log.
"""

from __future__ import annotations

import time
from collections import Counter
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from client.pacs.importing import Done
from client.pacs.pace import Pace
from client.pacs.pairing import Pairing
from client.pacs.report_table import ReportTable

_LINE_SECONDS = 60.0
"""Between two lines where there is no terminal."""

_MOST_LINES = 5
"""Of the rows of a table that give no report."""


class Display:
    """Shows how an import goes; a `Watcher`.

    Args:
        console: Standard error.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
        self._task = self._bar.add_task("Asking the archive")
        self._said = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def at(self, day: date, done: Done) -> None:
        """See `Watcher`."""
        failed = f", {len(done.failed):,} failed" if done.failed else ""
        words = f"Studies of {day}: {done.num_fetched:,} fetched{failed}"
        self._bar.update(self._task, description=words)
        if not self._console.is_terminal and time.monotonic() - self._said > _LINE_SECONDS:
            self._say(words)

    def waits(self, pace: Pace) -> None:
        """See `Watcher`."""
        words = f"Waiting: the archive is asked at {pace.hours} only"
        self._bar.update(self._task, description=words)
        if not self._console.is_terminal:
            self._say(words)

    def _say(self, words: str) -> None:
        self._said = time.monotonic()
        self._console.print(words)


def show_summary(done: Done, pairing: Pairing, table: ReportTable, *, folder: Path, console: Console) -> None:
    """Show what was done, and what the folder holds."""
    console.print(f"Studies fetched now: {done.num_fetched:,}")
    console.print(
        f"Studies with a report, for data.adapter=dicom data.root={folder}: {pairing.num_ready:,}, of "
        f"{pairing.num_images:,} images",
        soft_wrap=True,
    )
    waiting = {
        "with images, waiting for a report (--reports, or import again when it is written)": pairing.num_without_report,
        "without an image that is taken": pairing.num_without_images,
        "without one accession number or a patient identifier, so that nothing can be joined": (
            pairing.num_without_number
        ),
        "whose accession number is another patient's too, so that nothing is joined": pairing.num_ambiguous,
        "that were taken out of the folder, and stay out": pairing.num_removed,
    }
    for what, number in waiting.items():
        if number:
            console.print(f"Studies {what}: {number:,}", soft_wrap=True)
    for reason, number in Counter(reason for _, _, reason in done.failed).most_common():
        console.print(f"Studies that were not had, {reason}: {number:,}", soft_wrap=True)
    if table.unusable:
        lines = "; ".join(f"line {line}: {reason}" for line, reason in table.unusable[:_MOST_LINES])
        console.print(f"Rows of the table that give no report: {len(table.unusable):,} ({lines})", soft_wrap=True)
