"""No more studies a minute than was said, in the hours that were said, and another try after a while."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from client.pacs.faults import ArchiveSilent
from client.pacs.pace import WAITS_SECONDS, Pace
from client.policy.hours import hours_of


class Clock:
    """A clock that goes on only while somebody sleeps."""

    def __init__(self, at: str = "12:00") -> None:
        self.start = datetime.fromisoformat(f"2024-01-31T{at}")
        self.passed = 0.0

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.passed += seconds

    def pace(self, per_minute: float, hours: str = "") -> Pace:
        """A pace by this clock."""
        return Pace(
            per_minute,
            hours_of(hours),
            sleep=self.sleep,
            seconds=lambda: self.passed,
            local_time=lambda: (self.start + timedelta(seconds=self.passed)).time(),
        )


def test_turns_come_so_many_a_minute_at_most() -> None:
    clock = Clock()
    pace = clock.pace(30)
    times = []
    for took in (0.5, 0.5, 5.0, 0.0):
        pace.wait_for_turn()
        times.append(clock.passed)
        clock.sleep(took)
    assert times == [0.0, 2.0, 4.0, 9.0]


def test_hours_are_waited_for() -> None:
    clock = Clock("21:59")
    pace = clock.pace(30, "22:00-06:00")
    assert not pace.is_open
    pace.wait_for_hours()
    assert (pace.is_open, clock.passed) == (True, 60.0)


def test_question_is_asked_again_after_longer_and_longer_waits() -> None:
    clock, asked = Clock(), []

    def ask() -> str:
        asked.append(clock.passed)
        if len(asked) < 3:
            raise ArchiveSilent("not now")
        return "answer"

    assert clock.pace(30).tried(ask) == "answer"
    assert asked == [0.0, WAITS_SECONDS[0], WAITS_SECONDS[0] + WAITS_SECONDS[1]]


def test_question_that_is_never_answered_is_given_up() -> None:
    clock = Clock()

    def ask() -> None:
        raise ArchiveSilent("not now")

    with pytest.raises(ArchiveSilent):
        clock.pace(30).tried(ask)
    assert clock.passed == sum(WAITS_SECONDS)
