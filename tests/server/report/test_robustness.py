"""The grid of attacks, against numbers written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from server.report.robustness import backdoor_rows, grids, hardest_grids, rule_rows, verdict
from server.report.summary import validate

COMMON = {
    "refusal": None,
    "codes_recall_at_10": 0.1,
    "backdoor_success": None,
    "backdoor_control": None,
    "rounds_updated": 3,
    "attacker_drops": {},
    "attacker_weight": None,
    "seconds": 1.0,
}


def cell(rule: str, attack: str, kept: float | None, *, attackers: int = 2, **more: Any) -> dict[str, Any]:
    own = {"epsilon": None, "num_byzantine": attackers, "rule": rule, "attack": attack, "kept": kept}
    return COMMON | own | {"recall_at_10": None if kept is None else 0.5 * kept} | more


def with_cells(summary: dict[str, Any], *cells: dict[str, Any]) -> dict[str, Any]:
    reference = {"epsilon": None, "recall_at_10": 0.5, "codes_recall_at_10": 0.4}
    start = {"recall_at_10": 0.2, "codes_recall_at_10": 0.2}
    found = {"num_sites": 10, "repeats": 1, "start": start, "chance_recall_at_10": 0.1}
    summary["robustness"] = found | {"references": [reference], "cells": list(cells)}
    validate(summary)
    return summary


@pytest.fixture
def small(summary: dict[str, Any]) -> dict[str, Any]:
    return with_cells(
        summary,
        cell("mean", "none", 1.0, attackers=0),
        cell("median", "none", 0.96, attackers=0),
        cell("mean", "none", 1.0),
        cell("mean", "nan", 0.99),
        cell("mean", "ipm", 0.2),
        cell("median", "none", 0.89),
        cell("median", "nan", 0.97),
        cell("median", "ipm", 0.9),
    )


def test_fixture_is_a_valid_summary(grid_summary: dict[str, Any]) -> None:
    validate(grid_summary)


def test_cells_stand_at_their_rule_and_attack(small: dict[str, Any]) -> None:
    (grid,) = grids(small)
    assert (grid.rules, grid.attacks) == (("mean", "median"), ("none", "nan", "ipm"))
    assert grid.kept == ((1.0, 0.99, 0.2), (0.89, 0.97, 0.9))
    assert grid.title == "Two of ten hospitals attack, no noise"


def test_worst_attack_is_an_attack_and_nine_tenths_hold(small: dict[str, Any]) -> None:
    """Without an attack the median keeps less than under its worst one: that is no attack's doing."""
    median, mean = rule_rows(small)
    assert (median.rule, median.unattacked, median.holds) == ("median", (0.96,), True)
    assert [(worst.attack, worst.kept) for worst in median.worst if worst] == [("ipm", 0.9)]
    assert (mean.is_mean, mean.holds) == (True, False)
    assert [(worst.attack, worst.kept) for worst in mean.worst if worst] == [("ipm", 0.2)]


def test_just_below_nine_tenths_fails(small: dict[str, Any]) -> None:
    small["robustness"]["cells"][-1]["kept"] = 0.8999
    assert not any(row.holds for row in rule_rows(small))
    assert verdict(small) == (
        "With up to two of ten hospitals attacking, no rule holds: the best, median, keeps as little as 89% of what "
        "an unattacked federation finds."
    )


def test_one_refusal_is_enough_not_to_hold(small: dict[str, Any]) -> None:
    small["robustness"]["cells"][-2] |= {"kept": None, "recall_at_10": None, "refusal": "too few"}
    mean, median = rule_rows(small)
    assert (median.rule, median.worst, median.refusals, median.holds) == ("median", (None,), ("too few",), False)
    assert mean.rule == "mean"


def test_every_rule_refused(small: dict[str, Any]) -> None:
    for found in small["robustness"]["cells"][2:]:
        found |= {"kept": None, "recall_at_10": None, "refusal": "too few"}
    assert verdict(small) == "With up to two of ten hospitals attacking, every rule refused some cohort."


def test_rule_must_hold_in_every_grid(small: dict[str, Any]) -> None:
    cells = small["robustness"]["cells"]
    cells += [{**found, "num_byzantine": 1, "kept": 0.5} for found in cells[2:]]
    assert [grid.num_byzantine for grid in grids(small)] == [2, 1]
    assert [grid.num_byzantine for grid in hardest_grids(small)] == [2]
    assert not any(row.holds for row in rule_rows(small))


def test_backdoor_is_told_beside_its_control(small: dict[str, Any]) -> None:
    assert backdoor_rows(small) == []
    small["robustness"]["cells"].append(cell("mean", "backdoor", 1.0, backdoor_success=0.9, backdoor_control=0.1))
    (row,) = backdoor_rows(small)
    assert (row.rule, row.success, row.control) == ("mean", (0.9,), (0.1,))


def test_run_of_another_kind_has_no_grid(summary: dict[str, Any]) -> None:
    assert grids(summary) == hardest_grids(summary) == rule_rows(summary) == backdoor_rows(summary) == []
    assert verdict(summary) is None


def test_grid_without_attackers_has_no_verdict(summary: dict[str, Any]) -> None:
    assert verdict(with_cells(summary, cell("mean", "none", 1.0, attackers=0))) is None
