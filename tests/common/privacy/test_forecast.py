"""The forecast: its ratio against a simulated walk, its words, its remedies, and that it never turns worse for more."""

from __future__ import annotations

import inspect
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import common.privacy.forecast as rule
from common.config.load import load_config
from common.config.schema import RunConfig
from common.privacy.bands import middle_of
from common.privacy.forecast import (
    Forecast,
    Verdict,
    forecast,
    forecast_known,
    forecast_of_one,
    noise_over_reach,
)
from common.privacy.plan import privacy_plan

NUM_VALUES = 2**13
SMALL = ("11-15", "16-31", "16-31", "32-63")
FEW, MORE = ("64-127",) * 5, ("256-511",) * 5
BETTER = (Verdict.DROWNS, Verdict.CANNOT_TELL, Verdict.HELPS)
"""From the worst to the best."""


def run(epsilon: float | None = 8.0, *overrides: str) -> RunConfig:
    return load_config([f"privacy.epsilon={'null' if epsilon is None else epsilon}", *overrides])


def told(config: RunConfig, bands: tuple[str, ...]) -> Forecast:
    found = forecast(config, bands)
    assert found is not None
    return found


def test_ratio_is_that_of_a_walk_of_noise_and_of_patients_who_all_pull_one_way() -> None:
    """Two sites, drawn step by step: 40 walks of 8,192 values, whose deviation varies by less than 1%."""
    config, bands = run(2.0, "federation.rounds=2"), ("32-63", "64-127")
    generator = np.random.default_rng(0)
    steps, rate, clip = config.training.steps_per_round * 2, 0.3, config.privacy.clip_norm
    patients = sum(middle_of(band) for band in bands)
    deviations = []
    for _ in range(40):
        moved = np.zeros(NUM_VALUES)
        for band in bands * steps:
            plan = privacy_plan(config, band)
            assert plan is not None
            expected = config.training.sampling_probability * middle_of(band)
            noise = generator.normal(0.0, plan.event.noise_multiplier * clip, NUM_VALUES) / expected
            moved += rate * middle_of(band) / patients * noise
        deviations.append(np.sqrt(np.mean(moved**2)))
    reach = rate * clip * steps
    assert noise_over_reach(config, bands) == pytest.approx(np.mean(deviations) / reach, rel=0.01)


@pytest.mark.parametrize(
    ("epsilon", "bands", "verdict", "sentence"),
    [
        (
            8.0,
            MORE,
            Verdict.HELPS,
            "Forecast: what about 1,900 patients of 5 hospitals teach should outweigh the noise of epsilon 8.",
        ),
        (
            2.0,
            FEW,
            Verdict.CANNOT_TELL,
            "Forecast: it cannot be told whether what about 480 patients of 5 hospitals teach outweighs the noise of "
            "epsilon 2; from epsilon 6 on or with about 1,900 patients it should.",
        ),
        (
            2.0,
            SMALL,
            Verdict.DROWNS,
            "Forecast: the noise of epsilon 2 drowns what about 110 patients of 4 hospitals teach; from epsilon 6.9 on "
            "or with about 430 patients it no longer would.",
        ),
    ],
)
def test_sentence_says_what_is_foretold_and_what_would_mend_it(
    epsilon: float, bands: tuple[str, ...], verdict: Verdict, sentence: str
) -> None:
    found = told(run(epsilon), bands)
    assert (found.verdict, found.sentence) == (verdict, sentence)
    assert found.is_hopeless == (verdict is Verdict.DROWNS)
    assert found.as_json() == {
        "verdict": str(verdict),
        "noise_over_reach": found.noise_over_reach,
        "least_epsilon": found.least_epsilon,
        "least_patients": found.least_patients,
        "sentence": sentence,
    }


@pytest.mark.parametrize(("epsilon", "bands"), [(2.0, FEW), (2.0, SMALL)])
def test_remedies_mend_it_and_a_little_less_does_not(epsilon: float, bands: tuple[str, ...]) -> None:
    found = told(run(epsilon), bands)
    assert found.least_epsilon is not None
    assert BETTER.index(told(run(found.least_epsilon), bands).verdict) == BETTER.index(found.verdict) + 1
    assert told(run(0.94 * found.least_epsilon), bands).verdict is found.verdict
    larger = bands
    while sum(map(middle_of, larger)) < (found.least_patients or 0):
        assert told(run(epsilon), larger).verdict is found.verdict
        larger = tuple(_next(band) for band in larger)
    assert BETTER.index(told(run(epsilon), larger).verdict) > BETTER.index(found.verdict)


def _next(band: str) -> str:
    return rule.band_of(2 * rule.most_of(band))


@pytest.mark.parametrize(("delta", "sizes"), [("1e-5", ("1-10", "64-127", "1024-2047")), ("null", ("16-31", "32-63"))])
def test_larger_epsilon_or_more_patients_never_make_it_worse(delta: str, sizes: tuple[str, ...]) -> None:
    """The ratio that the verdict follows from, by epsilon and by the size of one of two sites."""
    noises = [
        [noise_over_reach(run(epsilon, f"privacy.delta={delta}"), (size, "64-127")) for size in sizes]
        for epsilon in (0.5, 2.0, 8.0)
    ]
    assert all(more < less for row in noises for less, more in pairwise(row))
    assert all(more < less for column in zip(*noises, strict=True) for less, more in pairwise(column))


@given(less=st.floats(0, 10), more=st.floats(0, 10))
def test_less_noise_is_never_a_worse_verdict(less: float, more: float) -> None:
    quiet, loud = sorted((less, more))
    assert BETTER.index(rule._verdict(quiet)) >= BETTER.index(rule._verdict(loud))


def test_step_length_and_public_weight_change_nothing() -> None:
    other = run(2.0, "privacy.learning_rate=4", "privacy.public_weight=0", "privacy.clip_norm=5")
    assert told(other, FEW) == told(run(2.0), FEW)


def test_hopeless_run_that_no_epsilon_mends_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule, "_MOST_DOUBLINGS", 1)
    found = told(run(0.1), ("1-10",))
    assert (found.verdict, found.least_epsilon, found.least_patients) == (Verdict.DROWNS, None, None)
    assert found.remedy == "neither a larger epsilon nor more patients would mend that"


def test_hospital_as_large_as_any_cannot_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule, "MOST_PATIENTS", 100)
    found = told(run(2.0), SMALL)
    assert (found.verdict, found.least_patients) == (Verdict.DROWNS, None)
    assert found.remedy == "from epsilon 6.9 on it no longer would"


@pytest.mark.parametrize("config", [run(None), run(8.0, "federation.rounds=0")])
def test_run_that_adds_no_noise_has_no_forecast(config: RunConfig) -> None:
    assert forecast(config, FEW) is None
    assert forecast_of_one(config, "64-127") is None


def test_what_was_not_measured_is_not_foretold() -> None:
    config = run(8.0, "encoder.trainable=all")
    for found in (forecast(config, MORE), forecast_of_one(config, "256-511")):
        assert found is not None
        assert (found.verdict, found.noise_over_reach) == (Verdict.CANNOT_TELL, None)
        assert found.sentence == "Forecast: nothing can be foretold of encoder.trainable=all, for it was not measured."


@pytest.mark.parametrize(
    ("epsilon", "band", "verdict", "sentence"),
    [
        (
            8.0,
            "1024-2047",
            Verdict.HELPS,
            "Forecast: what about 1,500 patients of one hospital teach should outweigh the noise of epsilon 8.",
        ),
        (
            8.0,
            "64-127",
            Verdict.CANNOT_TELL,
            "Forecast: of hospitals of 64-127 patients each 4 or more should outweigh the noise of epsilon 8; how many "
            "take part is not known here.",
        ),
        (
            2.0,
            "32-63",
            Verdict.CANNOT_TELL,
            "Forecast: the noise of epsilon 2 drowns what fewer than 8 hospitals of 32-63 patients each teach, and not "
            "even 50 are sure to outweigh it; how many take part is not known here.",
        ),
        (
            0.5,
            "11-15",
            Verdict.DROWNS,
            "Forecast: the noise of epsilon 0.5 drowns what even 50 hospitals of 11-15 patients each teach; from "
            "epsilon 2.6 on or with about 4,800 patients it no longer would.",
        ),
    ],
)
def test_hospital_alone_says_how_many_like_it_are_needed(
    epsilon: float, band: str, verdict: Verdict, sentence: str
) -> None:
    found = forecast_of_one(run(epsilon), band)
    assert found is not None
    assert (found.verdict, found.sentence) == (verdict, sentence)


def test_numbers_of_hospitals_are_those_of_the_forecast_itself() -> None:
    """The sentence above says 4 for epsilon 8 and 8 for epsilon 2."""
    assert [told(run(8.0), ("64-127",) * number).verdict for number in (3, 4)] == [Verdict.CANNOT_TELL, Verdict.HELPS]
    assert [told(run(2.0), ("32-63",) * number).verdict for number in (7, 8)] == [Verdict.DROWNS, Verdict.CANNOT_TELL]


def test_hospital_that_was_told_all_bands_uses_them() -> None:
    assert forecast_known(run(2.0), own="64-127", cohort=FEW) == told(run(2.0), FEW)
    assert forecast_known(run(2.0), own="64-127", cohort=None) == forecast_of_one(run(2.0), "64-127")


def test_forecast_reads_nothing_but_public_arguments() -> None:
    assert list(inspect.signature(forecast).parameters) == ["config", "bands"]
    assert list(inspect.signature(forecast_of_one).parameters) == ["config", "band"]
    imported = [line for line in Path(rule.__file__).read_text(encoding="utf-8").splitlines() if "import" in line]
    assert not [line for line in imported if any(room in line for room in ("client", "server", "ledger", "random"))]
