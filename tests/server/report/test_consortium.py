"""What the hospitals' counts say together, who is believed, and the sentence that a run ends with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.config.load import load_config
from common.config.schema import RunConfig
from common.privacy.count_noise import UNITS, LaplaceCountNoise
from common.privacy.held_out import noise_of
from server.checkpoint import RunState, SiteHistory
from server.report import sentences
from server.report.consortium import NOTHING, consortium

BAND = "64-127"
CELLS = ("both", "start_only", "final_only", "neither")


@pytest.fixture
def config() -> RunConfig:
    return load_config(["evaluation.epsilon=2"])


def state_of(told: dict[str, tuple[float, ...] | None], band: str = BAND) -> RunState:
    """A state at the end of a run in which each site told its cells, or nothing."""
    state = RunState("0" * 64, 1, {"model": {}, "aggregator": {}, "optimizer": {}})
    for site, cells in told.items():
        state.sites[site] = SiteHistory(band)
        state.latest[site] = {} if cells is None else {"paired": dict(zip(CELLS, cells, strict=True))}
    return state


def test_figures_are_those_of_the_sums(config: RunConfig) -> None:
    told = consortium(config, state_of({"a": (10, 2, 8, 40), "b": (20, 1, 4, 35), "quiet": None}))
    whole = told["consortium"]
    assert (whole["num_sites"], whole["num_left_out"]) == (2, 0)
    assert whole["start"]["recall_at_10"] == pytest.approx(33 / 120)
    assert whole["final"]["recall_at_10"] == pytest.approx(42 / 120)
    assert told["difference"]["recall_at_10"] == pytest.approx(9 / 120)
    assert whole["final"]["low"] < 42 / 120 < whole["final"]["high"]


@pytest.mark.parametrize(
    "lie", [(5000.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1e9), (0.0, -5000.0, 5000.0, 60.0), (-1e9, 0.0, 1e9, 100.0)]
)
def test_counts_that_cannot_be_are_left_out(config: RunConfig, lie: tuple[float, ...]) -> None:
    honest = {"a": (10.0, 2.0, 8.0, 40.0), "b": (20.0, 1.0, 4.0, 35.0)}
    without, beside = consortium(config, state_of(honest)), consortium(config, state_of({**honest, "liar": lie}))
    assert beside["consortium"] == without["consortium"] | {"num_left_out": 1}
    assert beside["difference"] == without["difference"]


def test_honest_hospital_is_never_left_out_for_its_noise(config: RunConfig) -> None:
    """500 hospitals at the edge of their band with empty cells: one would be left out with probability 1e-3."""
    noise = noise_of(config)
    assert isinstance(noise, LaplaceCountNoise)
    exact = UNITS * np.tile([0, 0, 0, 127], (500, 1)).astype(np.int64)
    told = {f"site-{n}": tuple(cells) for n, cells in enumerate(noise.laplace.noised(exact) / UNITS)}
    assert consortium(config, state_of(told))["consortium"]["num_left_out"] == 0


def test_nothing_is_said_without_figures_or_without_patients(config: RunConfig) -> None:
    assert consortium(load_config([]), state_of({"a": (10, 2, 8, 40)})) == NOTHING
    assert consortium(config, state_of({})) == NOTHING
    assert consortium(config, state_of({"a": (0.5, -1, 0, 0)})) == NOTHING


@pytest.mark.parametrize(
    ("cells", "verdict", "begins"),
    [
        ((20.0, 2.0, 40.0, 60.0), "final", "It helped: +31.1 points"),
        (
            (20.0, 40.0, 2.0, 60.0),
            "start",
            "It did not help, and the public start is the better model: \N{MINUS SIGN}31.1",
        ),
        ((20.0, 10.0, 12.0, 80.0), "undecided", "It cannot be told whether it helped: +1.6"),
    ],
)
def test_verdict_is_said_in_a_sentence(config: RunConfig, cells: tuple[float, ...], verdict: str, begins: str) -> None:
    told: dict[str, Any] = consortium(config, state_of({"a": cells}))
    assert told["published"] == verdict
    sentence = sentences.helped(told)
    assert sentence is not None
    assert sentence.startswith(begins)
    assert sentences.helped(dict(NOTHING)) is None
