"""A run as its operator sees it without a terminal: a line for each thing that happens, and never a long silence."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from server.deploy.run_view import LONGEST_SILENCE_SECONDS, RunView


class Seen:
    """A view, its clock, and what it printed."""

    def __init__(self) -> None:
        self.now = 0.0
        self.file = io.StringIO()
        self.view = RunView(Console(file=self.file, width=60), rounds=3, clock=lambda: self.now)

    def show(self, event: str, **fields: Any) -> None:
        """Show an event."""
        self.view.show({"event": event, **fields})

    def ticks(self, seconds: int) -> list[str]:
        """The lines of so many seconds in which nothing happens."""
        before = len(self.lines())
        for _ in range(seconds):
            self.now += 1.0
            self.view.tick()
        return self.lines()[before:]

    def lines(self) -> list[str]:
        """All lines."""
        return self.file.getvalue().splitlines()


@pytest.fixture
def seen() -> Seen:
    return Seen()


def test_never_ten_seconds_without_a_line_whatever_goes_on(seen: Seen) -> None:
    assert LONGEST_SILENCE_SECONDS < 9
    assert len(seen.ticks(60)) >= 6
    seen.show("waiting", here=["east"], not_ready={"north": "preparing_40_10"})
    assert len(seen.ticks(60)) >= 6
    seen.show("round_opened", round=1, sites=["east", "north"])
    assert len(seen.ticks(60)) >= 6


def test_operator_is_told_who_is_waited_for_and_why(seen: Seen) -> None:
    seen.show("waiting", here=["east"], not_ready={"north": "preparing_40_10", "south": "bundle", "west": "ledger"})
    (line,) = seen.lines()
    assert line == (
        "1 hospitals are ready; north is preparing its studies, 40% done, 10 min left at most; "
        "south has not approved this run; west could not use its privacy ledger"
    )
    assert seen.ticks(10)[0].startswith("1 hospitals are ready; north is preparing")


def test_round_tells_how_many_have_answered_and_for_how_long_it_goes_on(seen: Seen) -> None:
    seen.show("round_opened", round=2, sites=["east", "north", "west"])
    seen.show("site_answered", site="east", problem=None)
    assert seen.ticks(9) == ["round 2 of 3, 1 of 3 hospitals have answered, 8 s so far"]
    seen.show("site_answered", site="north", problem="late")
    assert seen.lines()[-1] == "round 2 of 3: north dropped, it answered after the deadline"
    seen.show("round_committed", rounds=2, admitted=2, outcome="updated")
    assert seen.lines()[-1] == "round 2 of 3: 2 hospitals, updated"


def test_last_measurement_has_a_name(seen: Seen) -> None:
    seen.show("round_opened", round=4, sites=["east"])
    assert seen.ticks(9) == ["last measurement, 0 of 1 hospitals have answered, 8 s so far"]


def test_text_of_a_hospital_is_no_markup(seen: Seen) -> None:
    seen.show("waiting", here=[], not_ready={"[/x]": "[bold]"})
    assert "[/x] [bold]" in seen.lines()[-1]
