"""How the server waits: for answers, by looks that come less and less often, and for sites that are not ready yet."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from common.wire.preparing import preparing_of
from server.transport import LOST

SHORTEST_POLL_SECONDS = 0.001
LONGEST_POLL_SECONDS = 0.25

ASK_LOST_AGAIN_SECONDS, ASK_PREPARING_AGAIN_SECONDS, ASK_REFUSED_AGAIN_SECONDS = 1.0, 5.0, 30.0
"""From the answer of a node that is not ready to the next question who it is."""


@dataclass(frozen=True)
class NotReady:
    """What a node said in the place of its name.

    Attributes:
        reason: A reason code.
        ask_again_at: On the monotonic clock.
    """

    reason: str
    ask_again_at: float

    @classmethod
    def of(cls, reason: str, *, now: float) -> NotReady:
        """What a node said at a time."""
        if reason == LOST:
            return cls(reason, now + ASK_LOST_AGAIN_SECONDS)
        if preparing_of(reason) is not None:
            return cls(reason, now + ASK_PREPARING_AGAIN_SECONDS)
        return cls(reason, now + ASK_REFUSED_AGAIN_SECONDS)

    @property
    def is_preparing(self) -> bool:
        """Whether it only has to go on."""
        return preparing_of(self.reason) is not None

    @property
    def level(self) -> int:
        """How loud a log says it."""
        return logging.INFO if self.is_preparing else logging.WARNING


class Pace:
    """The wait between two looks, which grows while nothing comes, until a deadline.

    Args:
        seconds: To the deadline.
    """

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._pause = SHORTEST_POLL_SECONDS

    @property
    def is_over(self) -> bool:
        """Whether the deadline has passed."""
        return time.monotonic() >= self._deadline

    def rest(self, *, found: bool) -> None:
        """Wait, and where the last look found something, only a moment."""
        if found:
            self._pause = SHORTEST_POLL_SECONDS
            return
        time.sleep(min(self._pause, max(0.0, self._deadline - time.monotonic())))
        self._pause = min(self._pause * 2, LONGEST_POLL_SECONDS)
