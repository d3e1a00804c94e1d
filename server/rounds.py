"""One round as a state machine without I/O: who was asked, who is waited for, when it ends and how.

Rules:
1. A site counts once, and only if it was asked; what else comes is ignored.
2. A round ends when no site is waited for, or at its deadline; then whoever is waited for is dropped as late.
3. It ends with an update only if the admitted sites meet the quorum, a share of the asked sites.
4. Nothing changes after the end: a reply that comes then is late, whatever it holds.

Time is a number of seconds that the caller reads from its clock; nothing here sleeps, sends or logs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import StrEnum

LATE = "late"


class Phase(StrEnum):
    """Where a round stands."""

    OPEN = "open"
    MET = "met"
    """Ended with a quorum."""
    MISSED = "missed"
    """Ended without one: the model stays as it is."""


def num_needed(num_asked: int, *, quorum: float) -> int:
    """Sites whose replies a round needs: the quorum's share of those that are asked, and one at least."""
    return max(1, math.ceil(quorum * num_asked - 1e-9))


class Round:
    """One round.

    Args:
        asked: Names of the sites that were asked.
        quorum: Share of them whose replies the round needs, in (0, 1].
        opened_at: Seconds.
        deadline_seconds: Longest wait after `opened_at`.
    """

    def __init__(self, asked: Iterable[str], *, quorum: float, opened_at: float, deadline_seconds: float) -> None:
        self.asked = tuple(asked)
        self.admitted: list[str] = []
        self.dropped: dict[str, str] = {}
        self._needed = num_needed(len(self.asked), quorum=quorum)
        self._ends_at = opened_at + deadline_seconds
        self._ended = not self.asked

    @property
    def waiting(self) -> tuple[str, ...]:
        """Asked sites that were neither admitted nor dropped, in the order of asking."""
        return tuple(site for site in self.asked if site not in self.admitted and site not in self.dropped)

    @property
    def phase(self) -> Phase:
        """Where the round stands."""
        if not self._ended:
            return Phase.OPEN
        return Phase.MET if len(self.admitted) >= self._needed else Phase.MISSED

    def admit(self, site: str) -> bool:
        """Count a site's reply; False where rule 1 or 4 forbids it."""
        if self._ended or site not in self.waiting:
            return False
        self.admitted.append(site)
        self._ended = not self.waiting
        return True

    def drop(self, site: str, reason: str) -> bool:
        """Count a site as dropped for a reason; False where rule 1 or 4 forbids it."""
        if self._ended or site not in self.waiting:
            return False
        self.dropped[site] = reason
        self._ended = not self.waiting
        return True

    def tick(self, now: float) -> None:
        """Let time pass: at the deadline the round ends and the waiting sites are late."""
        if not self._ended and now >= self._ends_at:
            self.dropped.update(dict.fromkeys(self.waiting, LATE))
            self._ended = True
