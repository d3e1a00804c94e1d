"""The remedies in the report: what helps, what does not, and what cannot be told."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from server.report.remedies import remedies_figure, remedies_verdict, remedy_rows, thresholds_verdict
from server.report.render import render
from server.report.summary import validate


def figure(value: float, reach: float = 0.01) -> dict[str, float]:
    return {"value": value, "low": value - reach, "high": value + reach}


def treated(recall: float, gap: float, *, left: float | None, kept: float = 1.0, reach: float = 0.02) -> dict[str, Any]:
    return {
        "recall_at_10": figure(recall),
        "gap": figure(gap, reach),
        "kept": figure(kept),
        "gap_left": None if left is None else figure(left, 0.3),
        "groups": {"Black": recall - gap, "White": recall},
    }


def cell(remedy: str, epsilon: float | None = None, **figures: Any) -> dict[str, Any]:
    return {"epsilon": epsilon, "remedy": remedy, **treated(**figures)}


@pytest.fixture
def compared(summary: dict[str, Any]) -> dict[str, Any]:
    """Five remedies without noise, of which one helps, and one at epsilon 8 that cannot be judged."""
    cells = [
        cell("none", recall=0.20, gap=0.06, left=1.0),
        cell("weight", recall=0.198, gap=0.02, left=0.33, kept=0.99),
        cell("sampling", recall=0.17, gap=0.02, left=0.33, kept=0.85),
        cell("score_level", recall=0.2, gap=0.058, left=0.97),
        cell("site_weights", recall=0.2, gap=0.036, left=0.6),
        cell("none", 8.0, recall=0.15, gap=0.01, left=None),
        cell("weight+score_level", 8.0, recall=0.15, gap=0.0, left=None),
    ]
    start = treated(recall=0.1, gap=0.05, left=1.0)
    remedies = {"attribute": "race", "group": "Black", "repeats": 3, "start": start, "cells": cells}
    marked = [*summary["not_private"], "$.remedies"]
    return summary | {"baselines": None, "remedies": remedies, "not_private": marked}


def test_verdicts_are_by_gap_and_cost(compared: dict[str, Any]) -> None:
    assert [(row.remedy, row.verdict) for row in remedy_rows(compared)] == [
        ("untreated", "untreated"),
        ("weights by group", "halves the gap"),
        ("rates by group", "costs too much"),
        ("score level", "leaves the gap"),
        ("weights of hospitals", "narrows the gap"),
        ("untreated", "untreated"),
        ("weights by group + score level", "there is no gap to be told"),
    ]


@pytest.mark.parametrize(("left", "kept", "helps"), [(0.5, 0.97, True), (0.501, 0.97, False), (0.5, 0.9699, False)])
def test_bounds_of_help_are_half_and_three_percent(
    compared: dict[str, Any], *, left: float, kept: float, helps: bool
) -> None:
    compared["remedies"]["cells"][1] |= {"gap_left": figure(left), "kept": figure(kept)}
    assert remedy_rows(compared)[1].helps is helps


def test_chance_is_said_where_the_interval_reaches_the_whole_gap(compared: dict[str, Any]) -> None:
    compared["remedies"]["cells"][1]["gap_left"] = {"value": 0.4, "low": -0.4, "high": 1.2}
    assert remedy_rows(compared)[1].verdict == "halves the gap, which may be chance"


def test_sentences_name_what_helps_and_what_cannot_be_told(compared: dict[str, Any]) -> None:
    verdict = remedies_verdict(compared)
    assert verdict is not None
    assert "With no noise: Black is found less often than the others by 6.0 points (4.0 to 8.0)" in verdict
    assert "weights by group halves it and keeps 97% of what is found." in verdict
    assert "With epsilon 8: whether Black is served worse than the others cannot be told." in verdict


def test_no_remedy_that_helps_is_a_sentence_too(compared: dict[str, Any]) -> None:
    del compared["remedies"]["cells"][1]
    assert "no remedy halves it and keeps 97%" in str(remedies_verdict(compared))


def test_figure_shows_every_remedy_losers_included(compared: dict[str, Any]) -> None:
    rows = remedy_rows(compared)
    figures = [trace for trace in remedies_figure(rows)["data"] if trace["mode"] == "markers+text"]
    assert sum(len(trace["x"]) for trace in figures) == len(rows)
    assert figures[0]["error_x"]["array"][0] == pytest.approx(0.02)


def test_page_holds_the_section_and_another_run_does_not(
    compared: dict[str, Any], summary: dict[str, Any], rounds: list[dict[str, Any]]
) -> None:
    validate(compared)
    page = render(compared, rounds)
    assert "What helps who is served worse?" in page
    assert "weights by group + score level" in page
    assert page.count("halves the gap") >= 1
    assert remedies_verdict(summary) is None
    assert "What helps who is served worse?" not in render(summary, rounds)


@pytest.fixture
def decided(compared: dict[str, Any]) -> dict[str, Any]:
    """The same with decisions at thresholds by group."""
    public = {"true_positive": figure(0.1), "false_positive": figure(-0.02), "odds": figure(0.1)}
    own = {"true_positive": figure(0.01), "false_positive": figure(0.03), "odds": figure(0.03)}
    row = {"epsilon": None, "groups": {"Black": figure(0.42), "White": figure(0.51)}, "public": public, "own": own}
    return compared | {"remedies": compared["remedies"] | {"thresholds": [row]}}


def test_thresholds_by_group_are_told_with_what_they_do_not_move(
    decided: dict[str, Any], compared: dict[str, Any], rounds: list[dict[str, Any]]
) -> None:
    validate(decided)
    page = render(decided, rounds)
    assert thresholds_verdict(decided) == (
        "With no noise Black and the others are 10.0 points (9.0 to 11.0) off equalised odds at one threshold for all, "
        "and 3.0 points (2.0 to 4.0) at each group's own."
    )
    assert "It moves no rank" in page
    assert "42.0%" in page
    assert thresholds_verdict(compared) is None
    assert "It moves no rank" not in render(compared, rounds)


def test_names_from_a_config_are_escaped(compared: dict[str, Any], rounds: list[dict[str, Any]]) -> None:
    hostile = copy.deepcopy(compared)
    hostile["remedies"]["group"] = "<script>x</script>"
    hostile["remedies"]["cells"][1]["remedy"] = "<img src=x>"
    page = render(hostile, rounds)
    assert "<script>x</script>" not in page
    assert "<img src=x>" not in page
