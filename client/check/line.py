"""How long what a round moves takes on a hospital's line, beside what the round's deadline allows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from client.check.planned import PlannedArrays
from common.config.schema import RunConfig

SLOW_BYTES_PER_SECOND = 64_000.0
FAST_BYTES_PER_SECOND = 100e6 / 8
"""What is told of: a poor line, and 100 Mbit/s."""

_MEGABYTE, _KILOBYTE = 1e6, 1e3
_MINUTE, _HOUR = 60.0, 3600.0


@dataclass(frozen=True, kw_only=True)
class LineTime:
    """What a round moves: the model comes, the site trains, the update goes.

    Attributes:
        num_bytes_here: Bytes that come.
        num_bytes_back: Bytes that go.
        deadline_seconds: Within which all of the round has to be done.
    """

    num_bytes_here: int
    num_bytes_back: int
    deadline_seconds: float

    @classmethod
    def of(cls, arrays: PlannedArrays, run: RunConfig) -> LineTime:
        """That of a run."""
        return cls(
            num_bytes_here=arrays.model.num_bytes,
            num_bytes_back=arrays.update.num_bytes,
            deadline_seconds=run.federation.deadline_seconds,
        )

    def seconds_at(self, bytes_per_second: float) -> float:
        """How long it takes there and back."""
        return (self.num_bytes_here + self.num_bytes_back) / bytes_per_second

    @property
    def least_bytes_per_second(self) -> float:
        """With a slower line no round is in time, however soon the training is done."""
        return (self.num_bytes_here + self.num_bytes_back) / self.deadline_seconds

    @property
    def is_too_much_for_a_slow_line(self) -> bool:
        """Whether a poor line loses every round."""
        return self.least_bytes_per_second > SLOW_BYTES_PER_SECOND

    @property
    def sentence(self) -> str:
        """All of it in one sentence."""
        here, back = (number / _MEGABYTE for number in (self.num_bytes_here, self.num_bytes_back))
        slow, fast = (_duration(self.seconds_at(speed)) for speed in (SLOW_BYTES_PER_SECOND, FAST_BYTES_PER_SECOND))
        told = (
            f"a round moves {here:.1f} MB here and {back:.1f} MB back: {slow} at 64 kB/s, {fast} at 100 Mbit/s; "
            f"its deadline is {_duration(self.deadline_seconds)}"
        )
        if not self.is_too_much_for_a_slow_line:
            return told
        least = self.least_bytes_per_second / _KILOBYTE
        return (
            f"{told}, so that a line below {least:,.0f} kB/s loses every round; where this hospital's is, ask the "
            "coordinating centre for a longer federation.deadline_seconds"
        )

    def as_json(self) -> dict[str, Any]:
        """The same as one JSON object."""
        return {**asdict(self), "seconds_at_64_kilobytes_a_second": self.seconds_at(SLOW_BYTES_PER_SECOND)}


def _duration(seconds: float) -> str:
    if seconds >= _HOUR:
        return f"{seconds / _HOUR:.1f} h"
    if seconds >= _MINUTE:
        return f"{seconds / _MINUTE:.1f} min"
    return f"{seconds:.1f} s"
