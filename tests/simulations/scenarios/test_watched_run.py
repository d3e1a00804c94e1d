"""Whole simulated runs that are watched: one that is undone says so, one that is not harmed is what it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from server.public_watch import Comparison
from server.report import sentences
from server.report.summary import validate


def test_run_whose_every_step_is_undone_ends_with_its_start_and_says_so(
    tiny_run: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    """Two rounds of a tiny cohort harm nothing that is measured; here each is taken to."""
    monkeypatch.setattr(Comparison, "lost", property(lambda _: True))
    found = tiny_run(tmp_path / "run", "federation.rounds=3")
    validate(found.summary)
    assert found.summary["status"] == "completed"
    watched = found.summary["public_validation"]
    assert watched["stepped_back"] == [1, 2, 3]
    assert (watched["final"], watched["best_round"], watched["step"]) == (watched["start"], 0, 0.125)
    assert found.model == tiny_run(tmp_path / "start", "federation.rounds=0").model
    assert found.summary["pooled"]["recall_at_10"] == found.summary["pooled"]["start"]["recall_at_10"]
    told = sentences.stepped_back(found.summary)
    assert told is not None
    assert told.startswith("In three rounds of three")
    assert (tmp_path / "run" / "report.html").read_text(encoding="utf-8").count(told) == 2


def test_run_that_nobody_watches_says_nothing(tiny_run: Any, tmp_path: Path) -> None:
    found = tiny_run(tmp_path / "run", "public_fit.validation_fraction=0", "federation.rounds=1")
    validate(found.summary)
    assert found.summary["public_validation"] is None
    assert found.state.rounds[0]["validation"] is None
    assert (
        "on public studies" not in (tmp_path / "run" / "report.html").read_text(encoding="utf-8").split("</style>")[1]
    )


def test_unharmed_run_is_the_run_of_the_same_anchors_that_nobody_watches(
    finished_run: Any, tiny_run: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    assert finished_run.summary["public_validation"]["stepped_back"] == []
    monkeypatch.setattr("simulations.federation.federate._validation", lambda _: None)
    alone = tiny_run(tmp_path / "alone")
    assert alone.summary["public_validation"] is None
    assert alone.model == finished_run.model
