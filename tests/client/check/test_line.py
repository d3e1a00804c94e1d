"""What a round moves, in figures that were worked out by hand."""

from __future__ import annotations

import pytest

from client.check.line import LineTime
from client.check.planned import planned_arrays
from common.config.load import load_config


def test_time_on_a_line_and_what_the_deadline_asks_of_it() -> None:
    line = LineTime(num_bytes_here=12_000_000, num_bytes_back=12_000_000, deadline_seconds=600.0)
    assert line.seconds_at(64_000) == pytest.approx(375)
    assert line.least_bytes_per_second == pytest.approx(40_000)
    assert line.sentence == (
        "a round moves 12.0 MB here and 12.0 MB back: 6.2 min at 64 kB/s, 1.9 s at 100 Mbit/s; its deadline is 10.0 min"
    )


def test_deadline_that_a_slow_line_cannot_keep_is_said_with_the_remedy() -> None:
    line = LineTime(num_bytes_here=12_000_000, num_bytes_back=12_000_000, deadline_seconds=120.0)
    assert line.is_too_much_for_a_slow_line
    assert "a line below 200 kB/s loses every round" in line.sentence
    assert "federation.deadline_seconds" in line.sentence
    assert not LineTime(num_bytes_here=1, num_bytes_back=1, deadline_seconds=120.0).is_too_much_for_a_slow_line


def test_bytes_of_a_run_are_those_of_its_parameters() -> None:
    """Four bytes each; where all trains, as many go back as come."""
    run = load_config(["encoder.trainable=all"])
    arrays = planned_arrays(run)
    line = LineTime.of(arrays, run)
    assert line.num_bytes_back == 4 * arrays.update.num_values > 0
    assert line.num_bytes_here >= line.num_bytes_back
    assert line.deadline_seconds == run.federation.deadline_seconds
