"""A hospital's cap ends a run, and what its ledger says afterwards is what the summary says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from common.errors import BudgetExhausted
from common.ledger.audit import audit_ledger
from common.ledger.entries import HELD_OUT, TRAINING
from common.ledger.read import read_books
from server.report.fairness.groups import ALL_SITES
from tests.conftest import TinyRun


def audited(folder: Path, cohort: str) -> dict[str, float]:
    """Epsilon of one cohort of each site's patients, recomputed from its ledger alone."""
    found = {}
    for path in sorted((folder / "ledgers").glob("*.sqlite3")):
        books = read_books(path)
        spent = [one.spent.epsilon for one in audit_ledger(books).accounts if one.statement.account.cohort == cohort]
        found[books.opened.site] = sum(spent)
    return found


def test_run_stops_when_the_budgets_are_spent_and_reports_what_it_reached(tiny_run: TinyRun, tmp_path: Path) -> None:
    with pytest.raises(BudgetExhausted, match="budgets are spent"):
        tiny_run(tmp_path, "privacy.epsilon=6", "policy.epsilon=4.5", "federation.rounds=4")
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["status"] == "failed"
    assert 0 < summary["rounds_completed"] < 4
    assert (tmp_path / "report.html").exists()
    spent = audited(tmp_path, TRAINING)
    assert spent.keys() == summary["sites"].keys()
    for name, site in summary["sites"].items():
        assert site["drops"] == {"budget": 1}
        assert site["epsilon"] == pytest.approx(spent[name], rel=1e-6)
        assert 0 < site["epsilon"] <= 4.5
        assert site["ledger_head"] == read_books(tmp_path / "ledgers" / f"{name}.sqlite3").head.digest


def test_private_run_spends_what_its_ledgers_say(tiny_run: TinyRun, tmp_path: Path) -> None:
    finished = tiny_run(tmp_path, "privacy.epsilon=6", "evaluation.epsilon=2", "fairness.epsilon=1")
    spent = audited(tmp_path, TRAINING)
    for name, site in finished.summary["sites"].items():
        assert site["epsilon"] == pytest.approx(spent[name], rel=1e-6)
        assert site["epsilon"] <= 6 < site["epsilon_replace_one"]
        assert (site["private"], site["statistics_epsilon"]) == (True, 2)
    # The figures of all, and those by group; a little less than their sum at a delta above 0.
    assert all(2 < epsilon <= 3 for epsilon in audited(tmp_path, HELD_OUT).values())
    groups = finished.summary["groups"]
    assert {group["site"] for group in groups} == {*finished.summary["sites"], ALL_SITES}
    assert {group["attribute"] for group in groups} == {"sex", "age_band", "race", "sex*age_band"}
    assert finished.summary["groups_noise"]["epsilon"] == 1
    assert not {"$.groups", "$.fairness"} & set(finished.summary["not_private"])
    assert "$.sites[*].metrics" not in finished.summary["not_private"]
    assert "$.pooled" in finished.summary["not_private"]
