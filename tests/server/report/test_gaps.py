"""The gap that is surest, and its interval."""

from __future__ import annotations

from typing import Any

import pytest

from server.report.gaps import fairness_of
from server.report.groups import ALL_SITES


def row(group: str, rate: float, reach: float) -> dict[str, Any]:
    ends = {"recall_at_10": [max(rate - reach, 0), min(rate + reach, 1)]}
    return {
        "site": ALL_SITES,
        "attribute": "sex",
        "group": group,
        "suppressed": False,
        "metrics": {"recall_at_10": rate},
        "intervals": ends,
    }


def test_gap_is_the_surest_one_and_not_that_of_a_group_nobody_knows() -> None:
    found = fairness_of([row("F", 0.6, 0.04), row("M", 0.4, 0.04), row("O", 0.1, 0.9)])["sex"]
    assert found["worst_group"]["group"] == "M"
    assert found["gap"] == pytest.approx(0.2)
    low, high = found["gap_interval"]
    assert 0.1 < low < 0.2 < high < 0.3
    assert fairness_of([row("F", 0.5, 0.1), row("M", 0.45, 0.1)])["sex"]["gap_interval"][0] == 0
