"""The table of more figures: whose they are, with their intervals, and which of them surely differ."""

from __future__ import annotations

from typing import Any

import pytest

from server.report.fairness.gaps import OF_RANKS, OF_SCORES, fairness_of
from server.report.fairness.groups import ALL_SITES
from server.report.fairness.more_figures import figure_tables
from server.report.render import render


def row(group: str, shift: float, *, site: str = ALL_SITES, figures: tuple[str, ...]) -> dict[str, Any]:
    values = dict.fromkeys(("recall_at_10", *figures), 0.4 + shift)
    return {
        "site": site,
        "attribute": "sex",
        "group": group,
        "suppressed": False,
        "num_patients": 200,
        "metrics": values,
        "intervals": {name: [value - 0.02, value + 0.03] for name, value in values.items()},
        "difference": None,
    }


def told(
    summary: dict[str, Any], shift: float, *, figures: tuple[str, ...] = (*OF_RANKS, *OF_SCORES)
) -> dict[str, Any]:
    rows = [row("F", 0.0, figures=figures), row("M", shift, figures=figures)]
    single = row("F", 0.3, site="Harbour", figures=figures)
    return {**summary, "groups": [single, *rows], "fairness": fairness_of(rows)}


def test_rows_are_those_of_all_hospitals_with_their_intervals_and_the_mark(summary: dict[str, Any]) -> None:
    (table,) = figure_tables(told(summary, 0.2) | {"not_private": ["$.groups"]})
    assert table.figures == (*OF_RANKS, *OF_SCORES)
    assert [group for group, _ in table.rows] == ["F", "M"]
    first = table.rows[0][1][0]
    assert (first.value, first.interval) == (pytest.approx(0.4), (pytest.approx(0.38), pytest.approx(0.43)))
    assert all(cell.marked for _, cells in table.rows for cell in cells)


def test_sentence_names_what_surely_differs_and_who_is_worse(summary: dict[str, Any]) -> None:
    sentence = figure_tables(told(summary, 0.2))[0].sentence
    assert "False alarms is worse for M, by 20.0 points" in sentence
    assert "AUROC is worse for F, by 20.0 points" in sentence
    assert figure_tables(told(summary, 0.01))[0].sentence.startswith("Sex: we cannot tell")


def test_run_that_tells_ranks_alone_has_a_table_of_them_and_one_that_tells_none_has_none(
    summary: dict[str, Any],
) -> None:
    assert figure_tables(told(summary, 0.2, figures=OF_RANKS))[0].figures == OF_RANKS
    assert figure_tables(told(summary, 0.2, figures=())) == []
    assert "More than the first ten" in render(told(summary, 0.2), [])
    assert "More than the first ten" not in render(told(summary, 0.2, figures=()), [])
