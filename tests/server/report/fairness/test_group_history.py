"""Worst group and gap over time."""

from __future__ import annotations

import math
from typing import Any

import pytest

from server.report.fairness.group_history import histories, history_figure
from server.report.fairness.groups import ALL_SITES
from tests.server.report.fair_summary import fair_summary


def rounds() -> list[dict[str, Any]]:
    """Two hospitals tell groups in each round: women rise by a point a round, men stay."""
    told = []
    for number in range(1, 13):
        sex = {"sex": {"F": 0.3 + 0.01 * number, "M": 0.5}}
        metrics = {
            "Harbour": {"groups": sex},
            "Lakeside": {"groups": {"sex": {"F": 0.2, "M": 0.5}}},
            "University": None,
        }
        told.append({"round": number, "metrics": metrics})
    return told


def test_start_and_end_have_intervals_and_rounds_between_are_weighed_by_patients() -> None:
    sex, age = histories(fair_summary(), rounds())
    assert [moment.round for moment in sex.moments] == list(range(13))
    first, fifth, last = sex.moments[0], sex.moments[5], sex.moments[-1]
    assert (first.worst, last.worst, fifth.worst) == ("F", "F", "F")
    assert fifth.gap == pytest.approx(0.5 - (60 * 0.35 + 30 * 0.2) / 90)
    assert fifth.interval is None
    reach = math.hypot(0.04, 0.04)
    assert last.interval == pytest.approx((0.15 - reach, 0.15 + reach))
    assert [moment.round for moment in age.moments] == [0, 12], "of age no round between was told"


def test_what_became_of_the_gap_is_told_with_both_intervals() -> None:
    summary = fair_summary()
    assert histories(summary, [])[0].sentence == (
        "Sex: the gap was 15.0 points (9.3 to 20.7) at the start, with F served worst, and is 15.0 points "
        "(9.3 to 20.7) now, with still F: whether it changed, we cannot tell."
    )
    women = next(row for row in summary["groups"] if (row["site"], row["group"]) == (ALL_SITES, "F"))
    women["metrics"]["start_recall_at_10"], women["intervals"]["start_recall_at_10"] = 0.05, [0.02, 0.09]
    assert histories(summary, [])[0].sentence.endswith("it shrank.")
    women["metrics"]["start_recall_at_10"], women["intervals"]["start_recall_at_10"] = 0.45, [0.42, 0.48]
    assert histories(summary, [])[0].sentence.endswith("it grew.")


def test_run_of_no_round_or_without_a_start_has_no_history() -> None:
    assert histories(fair_summary() | {"rounds_completed": 0}, []) == []
    summary = fair_summary()
    for row in summary["groups"]:
        if row["metrics"]:
            del row["metrics"]["start_recall_at_10"]
    assert histories(summary, rounds()) == []


def test_figure_has_a_line_an_attribute_and_escapes_what_it_names() -> None:
    summary = fair_summary()
    summary["groups"][0]["group"] = "<b>F</b>"
    figure = history_figure(histories(summary, rounds()))
    assert [line["name"] for line in figure["data"]] == ["Sex", "Age"]
    assert "<b>" not in str(figure["data"])
