"""Keeps the runs going: one at a time, handed to the SuperLink again after every crash, until it has ended.

The SuperLink and the ServerApp are mortal and hold nothing that lasts; what a run is and where it stands lies in its
folder. So there is one rule for every crash: a run that is wanted, has not ended and is not being run is submitted.
Where there is none, one that is wanted open for searching is.
One that was cut short many times without committing a round has failed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from common.errors import TrustError
from server.deploy.runs import Ending, Outcome, RunFolder, Wanted, all_runs

_LOGGER = logging.getLogger(__name__)

MOST_ATTEMPTS = 8
"""Times that a run may be cut short one after another without a round in between."""
SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0
LONGEST_START_SECONDS = 120.0
"""From submitting a run to its process taking hold of it: a new process, and the import of torch."""


class Carrier(Protocol):
    """What runs are handed to: Flower's Control API."""

    def submit(self, app: bytes) -> int:
        """Hand over an app; the number of its run."""
        ...

    def is_alive(self, run_id: int) -> bool:
        """Whether the run is pending or running."""
        ...

    def stop(self, run_id: int) -> None:
        """End a run; one that ended already stays as it is."""
        ...


@dataclass
class _Attempt:
    run_id: int
    generation: int
    begun_at: float
    was_held: bool = False


class RunScheduler:
    """Sees to the runs of one server folder.

    Args:
        folder: The server's folder.
        clock: Seconds, monotonic.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._attempt: _Attempt | None = None
        self._current: str | None = None
        self._failed_attempts = 0
        self._progress_seen = -1
        self._not_before = 0.0

    def tick(self, carrier: Carrier, generation: int) -> None:
        """Look once, and do what is due; to be called every second.

        Args:
            carrier: What runs are handed to.
            generation: Number of the carrier's starts: a new one knows nothing of the runs of the last.

        Raises:
            WardroundError: The carrier cannot be reached; nothing was changed.
        """
        runs = all_runs(self._folder)
        run = next((run for run in runs if run.outcome is None), None) or next(
            (run for run in runs if run.wanted is Wanted.SEARCH), None
        )
        if run is None or run.key != self._current:
            self._take_up(run)
        if run is None or any(other.is_held for other in runs if other.key != run.key):
            return  # a run that is open for searching ends within seconds where another is wanted
        held = run.is_held
        if self._attempt is not None:
            self._watch(self._attempt, run, carrier, generation, held=held)
        elif run.wanted is Wanted.STOP and not held:
            run.end(Outcome(ending=Ending.STOPPED, reason="stopped by the coordinating centre", exit_code=1))
        elif not held and self._clock() >= self._not_before:
            self._submit(run, carrier, generation)

    def _submit(self, run: RunFolder, carrier: Carrier, generation: int) -> None:
        try:
            app = run.bundle().app
        except TrustError as error:
            run.end(Outcome(ending=Ending.FAILED, reason=str(error), exit_code=error.exit_code))
            return
        self._attempt = _Attempt(carrier.submit(app), generation, self._clock())
        _LOGGER.info("run %s submitted", run.key)

    def _take_up(self, run: RunFolder | None) -> None:
        self._current = run.key if run else None
        self._attempt, self._failed_attempts, self._progress_seen, self._not_before = None, 0, -1, 0.0

    def _watch(self, attempt: _Attempt, run: RunFolder, carrier: Carrier, generation: int, *, held: bool) -> None:
        """See whether the process of an attempt still runs; where it does not, the next attempt is due."""
        attempt.was_held |= held
        if held or self._is_starting(attempt, carrier, generation):
            return
        if attempt.generation == generation:
            carrier.stop(attempt.run_id)
        self._attempt = None
        if run.outcome is None:
            self._note_failure(run)
        else:
            self._not_before = self._clock() + LONGEST_PAUSE_SECONDS

    def _is_starting(self, attempt: _Attempt, carrier: Carrier, generation: int) -> bool:
        if attempt.was_held or attempt.generation != generation:
            return False
        return self._clock() < attempt.begun_at + LONGEST_START_SECONDS and carrier.is_alive(attempt.run_id)

    def _note_failure(self, run: RunFolder) -> None:
        progress = rounds_committed(run)
        self._failed_attempts = 1 if progress > self._progress_seen else self._failed_attempts + 1
        self._progress_seen = progress
        pause = min(LONGEST_PAUSE_SECONDS, SHORTEST_PAUSE_SECONDS * 2 ** (self._failed_attempts - 1))
        self._not_before = self._clock() + pause
        run.note("interrupted", attempts=self._failed_attempts)
        _LOGGER.warning("run %s was cut short; it goes on from round %d in %.0f s", run.key, progress, pause)
        if self._failed_attempts >= MOST_ATTEMPTS:
            reason = (
                f"cut short {MOST_ATTEMPTS} times without a round in between; the log of the server says by what, and "
                f"wardround server resume {run.key} tries again"
            )
            run.end(Outcome(ending=Ending.FAILED, reason=reason, exit_code=1))


def rounds_committed(run: RunFolder) -> int:
    """Rounds that the events of a run tell of."""
    events, _ = run.follow()
    return max((int(event["rounds"]) for event in events if event["event"] == "round_committed"), default=0)
