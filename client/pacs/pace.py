"""How fast an archive is asked: an archive serves clinicians first."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from datetime import time as time_of_day
from typing import TypeVar

from client.pacs.faults import ArchiveSilent
from client.policy.hours import Hours

T = TypeVar("T")

WAITS_SECONDS = (2.0, 10.0, 30.0)
"""Before an archive that did not answer is asked the same again; after the last one, no more."""

_LOOK_SECONDS = 20.0
"""Between two looks at the clock while the hours are not come."""


def _local_time() -> time_of_day:
    return datetime.now().astimezone().time()


@dataclass
class Pace:
    """When the next study may be asked for.

    Attributes:
        per_minute: Most studies a minute.
        hours: Local hours in which the archive may be asked; None is always.
        sleep: Waits for seconds.
        seconds: A clock that only goes forward.
        local_time: The clock on the wall.
    """

    per_minute: float
    hours: Hours | None = None
    sleep: Callable[[float], None] = time.sleep
    seconds: Callable[[], float] = time.monotonic
    local_time: Callable[[], time_of_day] = _local_time
    _next: float = field(default=float("-inf"), init=False)

    @property
    def is_open(self) -> bool:
        """Whether these are the hours."""
        return self.hours is None or self.local_time() in self.hours

    def wait_for_hours(self) -> None:
        """Wait until the archive may be asked."""
        while not self.is_open:
            self.sleep(_LOOK_SECONDS)

    def wait_for_turn(self) -> None:
        """Wait until the next study may be asked for, and take its turn."""
        if (left := self._next - self.seconds()) > 0:
            self.sleep(left)
        self._next = self.seconds() + 60 / self.per_minute

    def tried(self, ask: Callable[[], T]) -> T:
        """What a question gives, asked again after a while where the archive did not answer.

        Raises:
            ArchiveSilent: It never did.
        """
        for seconds in WAITS_SECONDS:
            try:
                return ask()
            except ArchiveSilent:
                self.sleep(seconds)
        return ask()
