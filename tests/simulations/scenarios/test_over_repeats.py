"""Means over repeats: of what all of them show, with intervals that hold however the repeats share patients."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.config.load import load_config
from common.retrieval.paired import rate_of
from server.report.fairness.groups import ALL_SITES
from server.report.summary import validate
from simulations.scenarios.over_repeats import mean_of, mean_rows, over_repeats, told_by
from tests.conftest import FinishedRun

RELEASES, LEAST = 1000, 0.93


def row(recall: float, ends: tuple[float, float], *, group: str = "F", site: str = ALL_SITES) -> dict[str, Any]:
    return {
        "site": site,
        "attribute": "sex",
        "group": group,
        "suppressed": False,
        "num_patients": 40,
        "metrics": {"recall_at_10": recall},
        "intervals": {"recall_at_10": list(ends)},
        "difference": None,
    }


def hidden(group: str) -> dict[str, Any]:
    nothing = dict.fromkeys(("num_patients", "metrics", "intervals", "difference"))
    return {"site": ALL_SITES, "attribute": "sex", "group": group, "suppressed": True, **nothing}


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 99)), min_size=1, max_size=6))
def test_numbers_are_means_and_words_stay(parts: list[tuple[float, int]]) -> None:
    told = [{"a": {"rate": rate, "ends": [0.0, rate]}, "patients": num, "how": "exact"} for rate, num in parts]
    found = mean_of(told)
    mean = float(np.mean([rate for rate, _ in parts]))
    assert found["a"]["rate"] == pytest.approx(mean)
    assert found["a"]["ends"] == pytest.approx([0.0, mean])
    assert abs(found["patients"] - np.mean([num for _, num in parts])) <= 0.5
    assert found["how"] == "exact"
    assert json.loads(json.dumps(found)) == found


def test_what_a_repeat_does_not_tell_has_no_mean() -> None:
    assert mean_of([{"a": 0.2, "b": 0.4}, {"a": 0.4}]) == {"a": pytest.approx(0.3)}
    assert mean_of([0.2, None]) is None


def test_group_that_one_repeat_hides_or_does_not_name_is_not_shown() -> None:
    one = [row(0.4, (0.3, 0.5)), row(0.5, (0.4, 0.6), group="M"), row(0.6, (0.5, 0.7), group="O")]
    other = [row(0.6, (0.4, 0.7)), hidden("M")]
    women, men, others = mean_rows([one, other])
    assert women["metrics"]["recall_at_10"] == pytest.approx(0.5)
    assert women["intervals"]["recall_at_10"] == pytest.approx([0.35, 0.6])
    assert men == hidden("M")
    assert others["suppressed"] and others["metrics"] is None


def coverage(*, shared: bool, shrunk: float = 1.0) -> float:
    """How often the mean interval of five repeats of 100 patients holds the truth.

    Args:
        shared: Whether the repeats have the same patients.
        shrunk: How much shorter the interval is made.
    """
    rng, truth, held = np.random.default_rng(5), 0.4, 0
    for _ in range(RELEASES):
        found = rng.binomial(100, truth, size=1 if shared else 5).repeat(5 if shared else 1) / 100
        rates = [rate_of(rate, num_patients=100, noise=(0.0, 0.0, 0.0), variance=0.0) for rate in found]
        rows = [[row(rate.value, (rate.interval.low, rate.interval.high))] for rate in rates]
        (mean,) = mean_rows(rows)
        value, (low, high) = mean["metrics"]["recall_at_10"], mean["intervals"]["recall_at_10"]
        held += value - shrunk * (value - low) <= truth <= value + shrunk * (high - value)
    return held / RELEASES


@pytest.mark.parametrize("shared", [True, False])
def test_mean_interval_holds_whether_repeats_share_patients_or_not(*, shared: bool) -> None:
    """1,000 draws; below 93% at 95% is 2.9 deviations off: false alarms .2%."""
    assert coverage(shared=shared) >= LEAST


def test_interval_as_if_repeats_were_apart_fails_where_they_share_patients() -> None:
    """The broken variant: shorter by the root of the number of repeats."""
    assert coverage(shared=True, shrunk=5**-0.5) < LEAST


def test_summary_of_equal_repeats_is_that_of_one(finished_run: FinishedRun) -> None:
    config, summary, rounds = load_config([]), finished_run.summary, finished_run.state.rounds
    told = json.loads(json.dumps(told_by(summary, rounds)))
    mean, lines = over_repeats(config, summary, rounds, [told, told])
    validate(mean)
    assert lines == json.loads(json.dumps(rounds))
    for name, site in summary["sites"].items():
        assert mean["sites"][name]["metrics"] == pytest.approx(site["metrics"])
    before = {(one["site"], one["attribute"], one["group"]): one["num_patients"] for one in summary["groups"]}
    assert {(one["site"], one["attribute"], one["group"]): one["num_patients"] for one in mean["groups"]} == before
    assert mean["fairness"].keys() == summary["fairness"].keys()


def test_gate_decides_by_the_means(finished_run: FinishedRun) -> None:
    summary, rounds = finished_run.summary, finished_run.state.rounds
    told = told_by(summary, rounds)
    far = {**told, "groups": [row(0.9, (0.85, 0.95)), row(0.1, (0.05, 0.15), group="M")]}
    mean, _ = over_repeats(load_config(["fairness.max_gap=0.1"]), summary, rounds, [far, far])
    assert mean["release"]["decision"] == "withheld"
    assert mean["published"] == "start"
