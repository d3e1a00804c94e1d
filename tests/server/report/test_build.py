"""The summary of a run: from a real state, valid, and true to what the server knows."""

from __future__ import annotations

import copy
import hashlib
from typing import Any

import pytest
from safetensors.numpy import save

from common.config.load import config_digest, load_config
from common.privacy.plan import privacy_plan
from server.checkpoint import RunState, SiteHistory
from server.report.build import NOT_PRIVATE, OF_EXACT_UPDATES, RunFacts, build_summary
from server.report.summary import validate

METRICS = {"recall_at_10": 0.5}


def _group(attribute: str, name: str, recall: float | None) -> dict[str, Any]:
    hidden = recall is None
    return {
        "attribute": attribute,
        "group": name,
        "suppressed": hidden,
        "num_patients": None if hidden else 20,
        "metrics": None if hidden else {"recall_at_10": recall},
        "intervals": None if hidden else {"recall_at_10": [0.0, 1.0]},
    }


def _statistics(*groups: dict[str, Any]) -> dict[str, Any]:
    return {
        "brief": {"recall_at_10": 0.5, "codes_recall_at_10": 0.4},
        "metrics": METRICS,
        "intervals": {},
        "codes": METRICS,
        "code_intervals": {},
        "groups": list(groups),
        "gallery": 30,
        "chance_recall_at_10": 1 / 3,
    }


@pytest.fixture
def state(finished_run: Any) -> RunState:
    """Two sites: one that was dropped once, and one of which nothing was ever heard again."""
    return RunState(
        config_digest="ab" * 32,
        rounds_completed=2,
        arrays=copy.deepcopy(finished_run.state.arrays),
        sites={"north": SiteHistory("16-31", 2, 1, {"nan": 1}), "south": SiteHistory("32-63", 2, 0, {"late": 2})},
        start={"north": _statistics()},
        latest={"north": _statistics(_group("sex", "F", 0.4), _group("sex", "M", 0.7), _group("race", "x", None))},
    )


def _facts(problem: str | None = None) -> RunFacts:
    phases = ("prepare", "public_fit", "rounds", "evaluation")
    return RunFacts(
        started_at="2026-07-09T14:05:11+00:00",
        engine="inprocess",
        problem=problem,
        seconds=2.5,
        timings={f"{phase}_seconds": 0.5 for phase in phases},
        data={
            "adapter": "synthetic",
            "num_studies": 3,
            "num_public_studies": 1,
            "num_bad_rows": 0,
            "remarks": [],
            "left_out": [],
            "bad_rows": [],
            "anchors_digest": "cd" * 32,
        },
        num_trained=10,
        pooled=None,
    )


def test_summary_of_a_real_run_is_valid_and_speaks_of_its_state(finished_run: Any) -> None:
    summary, state = finished_run.summary, finished_run.state
    validate(summary)
    assert summary["status"] == "completed"
    assert summary["config_digest"] == config_digest(finished_run.config) == state.config_digest
    ordered = dict(sorted(state.arrays["model"].items()))
    assert summary["model_digest"] == hashlib.sha256(save(ordered)).hexdigest()
    assert summary["sites"].keys() == state.sites.keys()
    for name, site in summary["sites"].items():
        assert site["measured"]
        assert site["metrics"] == state.latest[name]["metrics"]
        assert site["start_metrics"] == state.start[name]["metrics"]
        assert site["rounds_joined"] == 2


@pytest.mark.parametrize("problem", [None, "no round changed the model"])
def test_summary_says_whether_and_why_a_run_failed(state: RunState, problem: str | None) -> None:
    summary = build_summary(load_config(["privacy.epsilon=null"]), state, _facts(problem))
    validate(summary)
    assert (summary["status"], summary["reason"]) == ("failed" if problem else "completed", problem)


def test_site_of_which_nothing_was_heard_has_no_numbers(state: RunState) -> None:
    site = build_summary(load_config(["privacy.epsilon=null"]), state, _facts())["sites"]["south"]
    assert site["drops"] == {"late": 2}
    assert site["metrics"] is site["codes"] is site["start_metrics"] is site["gallery"] is None


def test_epsilon_is_that_of_the_asked_rounds(state: RunState) -> None:
    config = load_config(["federation.rounds=2", "privacy.epsilon=1"])
    state.sites["south"].rounds_asked = 1
    north, south = (privacy_plan(config, state.sites[name].patients_band) for name in ("north", "south"))
    assert north is not None
    assert south is not None
    summary = build_summary(config, state, _facts())
    validate(summary)
    spent = {name: site["epsilon"] for name, site in summary["sites"].items()}
    assert spent == {"north": north.epsilon_after(2), "south": south.epsilon_after(1)}
    assert 0 < spent["south"] < spent["north"] <= config.privacy.epsilon  # type: ignore[operator]


def test_site_at_rest_is_in_the_summary(state: RunState) -> None:
    state.sites["south"].low_rounds, state.sites["south"].rests_from = [1, 2, 3], 4
    summary = build_summary(load_config(["privacy.epsilon=null"]), state, _facts())
    validate(summary)
    assert summary["sites"]["north"]["rests"] is None
    assert summary["sites"]["south"]["rests"] == {"low_rounds": [1, 2, 3], "from_round": 4}


def test_run_without_privacy_states_none(state: RunState) -> None:
    summary = build_summary(load_config(["privacy.epsilon=null"]), state, _facts())
    assert summary["privacy"]["target_epsilon"] is summary["privacy"]["noise_multiplier"] is None
    assert {site["epsilon"] for site in summary["sites"].values()} == {None}


def test_worst_group_is_that_of_all_hospitals_together(state: RunState) -> None:
    state.latest["south"] = _statistics(_group("sex", "F", 0.6), _group("scanner", "B", 0.2), _group("race", "y", None))
    summary = build_summary(load_config(["privacy.epsilon=null"]), state, _facts())
    validate(summary)
    (sex,) = summary["fairness"].values()
    assert sex["worst_group"] == {"site": "all hospitals", "group": "F", "recall_at_10": pytest.approx(0.5)}
    assert sex["gap"] == pytest.approx(0.2)
    assert sex["gap_interval"][0] == 0
    assert {(group["site"], group["group"]) for group in summary["groups"]} == {
        *((site, group) for site in ("north", "all hospitals") for group in ("F", "M", "x")),
        *((site, group) for site in ("south", "all hospitals") for group in ("F", "B", "y")),
    }


def test_group_stands_under_the_site_that_sent_it(state: RunState) -> None:
    """Whatever name a site writes into it."""
    state.latest["north"]["groups"][0]["site"] = "south"
    summary = build_summary(load_config(["privacy.epsilon=null"]), state, _facts())
    assert {group["site"] for group in summary["groups"]} == {"north", "all hospitals"}


def test_everything_measured_without_noise_is_named(finished_run: Any) -> None:
    assert finished_run.summary["not_private"] == NOT_PRIVATE + OF_EXACT_UPDATES
    measured = {"metrics", "intervals", "codes", "code_intervals", "start_metrics"}
    assert {f"$.sites[*].{name}" for name in measured} | {"$.groups", "$.fairness", "$.pooled"} <= set(NOT_PRIVATE)
