"""The gap that is surest, and its interval."""

from __future__ import annotations

from typing import Any

import pytest

from server.report.fairness.gaps import fairness_of
from server.report.fairness.groups import ALL_SITES


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


def scored(group: str, **figures: tuple[float, float]) -> dict[str, Any]:
    """A row with figures and how far their intervals reach."""
    one = row(group, 0.5, 0.1)
    for name, (value, reach) in figures.items():
        one["metrics"][name] = value
        one["intervals"][name] = [value - reach, value + reach]
    return one


def test_gaps_of_scores_name_who_has_more_false_alarms_and_fewer_hits() -> None:
    even = {"auroc": (0.8, 0.02), "calibration_error": (0.0, 0.02)}
    found = fairness_of(
        [
            scored("F", true_positive_rate=(0.9, 0.02), false_positive_rate=(0.30, 0.02), **even),
            scored("M", true_positive_rate=(0.7, 0.02), false_positive_rate=(0.05, 0.02), **even),
        ]
    )["sex"]["scores"]
    assert found["true_positive_rate"]["worst_group"] == {"site": ALL_SITES, "group": "M", "true_positive_rate": 0.7}
    assert found["false_positive_rate"]["worst_group"]["group"] == "F"
    assert found["auroc"]["gap_interval"][0] == 0
    # The greater of the two gaps; its interval, for both at once, is wider than that gap's own.
    assert found["equalised_odds"]["gap"] == pytest.approx(0.25)
    assert found["equalised_odds"]["gap_interval"][0] < found["false_positive_rate"]["gap_interval"][0]
    assert "worst_group" not in found["equalised_odds"]
    assert "scores" not in fairness_of([row("F", 0.6, 0.04), row("M", 0.4, 0.04)])["sex"]


def test_gaps_of_ranks_are_told_where_every_group_tells_ranks() -> None:
    ranks = {"recall_at_1": (0.2, 0.02), "recall_at_5": (0.4, 0.02)}
    rows = [scored("F", mrr=(0.3, 0.02), **ranks), scored("M", mrr=(0.2, 0.02), **ranks)]
    found = fairness_of(rows)["sex"]["ranks"]
    assert found["mrr"]["worst_group"] == {"site": ALL_SITES, "group": "M", "mrr": 0.2}
    assert found["recall_at_1"]["gap_interval"][0] == 0
    assert "ranks" not in fairness_of([*rows, row("O", 0.4, 0.04)])["sex"]
