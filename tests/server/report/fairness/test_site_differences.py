"""What each hospital gained: from its noised counts, or as it says."""

from __future__ import annotations

import pytest

from common.config.load import load_config
from common.privacy.held_out import noise_of
from common.retrieval.paired import Paired
from server.checkpoint import RunState, SiteHistory
from server.report.fairness.site_differences import site_differences

TOLD = {"both": 30.0, "start_only": 4.0, "final_only": 16.0, "neither": 50.0}


def state_of(**latest: object) -> RunState:
    state = RunState("ab" * 32, 1, {}, sites={"north": SiteHistory("64-127"), "south": SiteHistory("64-127")})
    state.latest["north"] = dict(latest)
    return state


def test_gain_of_noised_counts_holds_the_noise() -> None:
    config = load_config(["evaluation.epsilon=2"])
    found = site_differences(config, state_of(paired=TOLD))
    assert found["south"] is None
    assert found["north"] is not None
    assert found["north"]["recall_at_10"] == pytest.approx(0.12)
    bare, noise = Paired(**TOLD).difference().interval, noise_of(config)
    assert noise is not None
    assert found["north"]["low"] < bare.low < bare.high < found["north"]["high"]


def test_counts_that_no_noise_makes_tell_nothing() -> None:
    config = load_config(["evaluation.epsilon=2"])
    assert site_differences(config, state_of(paired=TOLD | {"both": 3000.0}))["north"] is None


def test_exact_gain_is_as_the_site_says() -> None:
    told = {"recall_at_10": 0.1, "low": -0.1, "high": 0.2}
    assert site_differences(load_config(), state_of(difference=told)) == {"north": told, "south": None}
