"""What one run of the federation is given, and who watches it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from common.config.schema import RunConfig
from common.privacy.plan import PlanOf
from server.checkpoint import RunState
from server.public_watch import PublicValidation
from server.recorder import Recorder
from server.transport import Presence, nobody_watches


class Observer(Protocol):
    """Who watches a run: a progress bar, a log."""

    def round_opened(self, round_number: int, asked: tuple[str, ...]) -> None:
        """The sites were asked; the round after the last one only measures."""
        ...

    def site_answered(self, site: str, problem: str | None) -> None:
        """A site was admitted, or dropped for a reason."""
        ...

    def round_committed(self, state: RunState) -> None:
        """A round, or the last measurement, is on the disk."""
        ...


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a run is given.

    Attributes:
        config: The run's configuration.
        trained: Names of the arrays that training moves.
        privacy: What a round costs a site with a band of patients.
        folder: Run folder; it holds the checkpoint.
        state: State to go on from; it holds the result at the end.
        observer: Who watches.
        recorder: Who keeps the evidence.
        validation: What the model is measured with after each round, on public studies; None where nothing is.
        least_sites: Sites that the run counts on: it waits for them before its first round, until the deadline of one
            for those that do not answer, and the quorum is a share of them even where they never came.
        patience_seconds: How long a quorum is waited for, and sites that are preparing their studies.
        watch_presence: Told who is there while sites are waited for; what it raises ends the run.
    """

    config: RunConfig
    trained: tuple[str, ...]
    privacy: PlanOf
    folder: Path
    state: RunState
    observer: Observer
    recorder: Recorder
    validation: PublicValidation | None = None
    least_sites: int = 1
    patience_seconds: float = 0.0
    watch_presence: Callable[[Presence], None] = nobody_watches
