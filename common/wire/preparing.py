"""What a site says while it is not ready for a run: how much is prepared, and how long it will take, both coarse.

The words travel as the reason code of an error reply, `preparing_40_10`: percent in tens, minutes left.
They are figures of no patient: the share tells nothing of how many studies there are, and the minutes, on a scale of
nine steps, less than the band of patients that the server is told anyway.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MINUTES = (1, 2, 5, 10, 20, 60, 120, 300, 600)
"""The scale of the time left, each step up to that many minutes; what takes longer than all is told as the last."""

PREPARING = "preparing"
"""How the reason begins, and what it is counted as."""

_TENTH = 10
_REASON = re.compile(rf"{PREPARING}_(?P<percent>[0-9]0?)_(?P<minutes>[0-9]{{1,3}})")


@dataclass(frozen=True, kw_only=True)
class Preparing:
    """How far a site is.

    Attributes:
        percent: Share that is done, in tens, 0 to 90.
        minutes: Time left at most, of `MINUTES`; 0 while it cannot be told.
    """

    percent: int
    minutes: int

    @classmethod
    def at(cls, *, done: int, total: int, seconds_left: float | None) -> Preparing:
        """The coarse words for exact progress."""
        tenths = min(_TENTH - 1, _TENTH * done // max(1, total))
        if seconds_left is None:
            return cls(percent=_TENTH * tenths, minutes=0)
        minutes = next((step for step in MINUTES if seconds_left <= 60 * step), MINUTES[-1])
        return cls(percent=_TENTH * tenths, minutes=minutes)

    @property
    def reason(self) -> str:
        """As a reason code."""
        return f"{PREPARING}_{self.percent}_{self.minutes}"

    def in_words(self) -> str:
        """For people at the coordinating centre."""
        left = {0: "", MINUTES[-1]: f", {MINUTES[-1] // 60} hours or more left"}.get(
            self.minutes, f", {self.minutes} min left at most"
        )
        return f"preparing its studies, {self.percent}% done{left}"


def preparing_of(reason: str) -> Preparing | None:
    """What a reason code says; None where it is another one, or of no site that keeps to the scale."""
    found = _REASON.fullmatch(reason)
    if found is None:
        return None
    said = Preparing(percent=int(found["percent"]), minutes=int(found["minutes"]))
    return said if said.minutes in (0, *MINUTES) and said.reason == reason else None
