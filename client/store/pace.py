"""How far a preparation is, and how long the rest takes."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a preparation is.

    Attributes:
        done: Studies that are read, and encoded where they were not before.
        total: Studies that the folders list.
        seconds_left: By the pace of the last steps that had to encode; None before there was one.
    """

    done: int
    total: int
    seconds_left: float | None


class Pace:
    """Progress, and how long the rest takes at the pace of the steps that had to encode."""

    def __init__(self, total: int) -> None:
        self.progress = Progress(done=0, total=total, seconds_left=None)
        self._seconds_a_study: float | None = None
        self.begin()

    def begin(self) -> None:
        """A step begins now; what its caller did since the last one is not counted."""
        self._step_began = time.monotonic()

    def after(self, num_studies: int, num_encoded: int) -> Progress:
        """The progress after a step."""
        seconds = (time.monotonic() - self._step_began) / max(1, num_studies)
        if num_encoded:
            known = self._seconds_a_study
            self._seconds_a_study = seconds if known is None else 0.8 * known + 0.2 * seconds
        done = min(self.progress.total, self.progress.done + num_studies)
        left = None if self._seconds_a_study is None else (self.progress.total - done) * self._seconds_a_study
        self.progress = replace(self.progress, done=done, seconds_left=left)
        return self.progress
