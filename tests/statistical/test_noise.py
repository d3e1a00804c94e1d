"""The noise as an observer of many releases sees it: its size, and that no two parts of it are related.

The system's own source is tested, with the operating system's entropy replaced by a fixed stream so that no test fails
by chance. Each test is run on broken variants too, which must fail.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch import Tensor

from client.dp.randomness import KeystreamRandomness, SystemRandomness
from common.privacy import keystream
from common.privacy.keystream import Keystream

DEVIATION = 0.37
NUM_PARAMETERS, NUM_STEPS = 10_000, 20
ALPHA = 1e-6
"""Share of keys for which the test of the deviation would fail the right noise."""
MOST_SCORE = 6.0
"""Standard score that no pair may exceed: 3e-6 of all keys have one among the 1,431 pairs of the right noise."""

SITES, RESTARTS, STEPS, LAYERS = range(3), range(2), range(3), range(3)

Draw = Callable[[int, int, int, int], Tensor]
"""Noise over its deviation `[NUM_PARAMETERS]` of a site, restart, step and layer."""


@pytest.fixture
def _fixed_entropy(monkeypatch: pytest.MonkeyPatch) -> None:
    entropy = Keystream(b"statistical: entropy of all keys")
    monkeypatch.setattr(keystream.os, "urandom", entropy.take)


def of_the_system() -> Draw:
    sources = {(site, restart): SystemRandomness() for site in SITES for restart in RESTARTS}

    def draw(site: int, restart: int, step: int, layer: int) -> Tensor:  # noqa: ARG001 - no key follows from them
        return unit_noise(sources[site, restart])

    return draw


def keyed_without(*forgotten: str) -> Draw:
    """Broken on purpose: keys follow from the labels of a draw, but some of them are forgotten."""

    def draw(site: int, restart: int, step: int, layer: int) -> Tensor:
        labels = {"site": site, "restart": restart, "step": step, "layer": layer}
        kept = [value for name, value in labels.items() if name not in forgotten]
        return unit_noise(KeystreamRandomness(hashlib.sha256(repr(kept).encode()).digest()))

    return draw


def unit_noise(randomness: SystemRandomness | KeystreamRandomness) -> Tensor:
    return (
        randomness.noise(NUM_PARAMETERS, standard_deviation=DEVIATION).added_to(torch.zeros(NUM_PARAMETERS)).double()
        / DEVIATION
    )


# Size


def has_unit_deviation(values: Tensor) -> bool:
    """Chi-square test of the sum of squares, both tails, `ALPHA` together."""
    tail = float(stats.chi2.cdf(float(values.square().sum()), df=values.numel()))
    return ALPHA / 2 < tail < 1 - ALPHA / 2


@pytest.mark.usefixtures("_fixed_entropy")
def test_noise_has_the_stated_deviation() -> None:
    """20 steps of 10,000 parameters, alpha 1e-6: noise that is 3% too small or too large is caught."""
    source = SystemRandomness()
    values = torch.stack([unit_noise(source) for _ in range(NUM_STEPS)])
    assert has_unit_deviation(values)
    assert not has_unit_deviation(values * 0.97)
    assert not has_unit_deviation(values * 1.03)


@pytest.mark.usefixtures("_fixed_entropy")
def test_noise_has_no_drift() -> None:
    """With n = 200,000 a mean of 3% of the deviation is caught."""
    source = SystemRandomness()
    values = torch.cat([unit_noise(source) for _ in range(NUM_STEPS)])
    assert abs(float(values.sum())) / math.sqrt(len(values)) < MOST_SCORE
    assert abs(float((values + 0.03).sum())) / math.sqrt(len(values)) > MOST_SCORE


# Independence


def largest_score(draw: Draw) -> float:
    """Greatest standard score of the correlation of two draws, over all pairs of 54."""
    labels = list(itertools.product(SITES, RESTARTS, STEPS, LAYERS))
    rows = torch.stack([draw(*label) for label in labels])
    scores = rows @ rows.T / math.sqrt(NUM_PARAMETERS)
    return float(scores.fill_diagonal_(0).abs().max())


@pytest.mark.usefixtures("_fixed_entropy")
def test_noise_is_independent_over_sites_restarts_steps_and_layers() -> None:
    assert largest_score(of_the_system()) < MOST_SCORE


def test_noise_keyed_by_every_label_is_independent() -> None:
    """The broken variants below fail for what they forget, and for nothing else."""
    assert largest_score(keyed_without()) < MOST_SCORE


@pytest.mark.parametrize(
    "forgotten", [("site",), ("restart",), ("step",), ("layer",), ("site", "restart", "step", "layer")]
)
def test_noise_that_repeats_is_caught(forgotten: tuple[str, ...]) -> None:
    assert largest_score(keyed_without(*forgotten)) > MOST_SCORE


def largest_lagged_score(values: Tensor) -> float:
    """Greatest standard score of the correlation of parameters that lie 1 to 40 places or a whole chunk apart."""
    scores = [
        float(values[lag:] @ values[:-lag]) / math.sqrt(len(values) - lag) for lag in [*range(1, 41), 2**14, 2**15]
    ]
    return max(map(abs, scores))


@pytest.mark.usefixtures("_fixed_entropy")
def test_noise_is_independent_over_parameters() -> None:
    """With n = 100,000, noise whose every second value leans on the one before it by 6% is caught."""
    values = SystemRandomness().noise(100_000, standard_deviation=1.0).added_to(torch.zeros(100_000)).double()
    assert largest_lagged_score(values) < MOST_SCORE
    leaning = values.clone()
    leaning[1::2] += 0.06 * values[::2]
    assert largest_lagged_score(leaning) > MOST_SCORE


# Sampling


def sampling_scores(randomness: KeystreamRandomness | SystemRandomness) -> tuple[float, float, float]:
    """Standard scores of participation, of the sample size's variance and of the correlation of two steps.

    80 patients, 3,000 steps, probability 0.2.
    """
    patients, steps, p = 80, 3000, 0.2
    chosen = torch.stack([randomness.participants(patients, p) for _ in range(steps)]).double()
    variance = p * (1 - p)
    participation = float(chosen.sum() - patients * steps * p) / math.sqrt(patients * steps * variance)
    expected = patients * variance
    # The fourth central moment of a binomial gives the variance of the sample variance.
    fourth = expected * (1 + (3 * patients - 6) * variance)
    spread = float(chosen.sum(dim=1).var() - expected) / math.sqrt((fourth - expected**2) / steps)
    centred = chosen - p
    between = float((centred[1:] * centred[:-1]).sum()) / (variance * math.sqrt(patients * (steps - 1)))
    return participation, spread, between


class FixedSize(KeystreamRandomness):
    """Broken on purpose: shuffled batches, which have as many patients at every step."""

    def participants(self, num_patients: int, probability: float) -> Tensor:
        """See `Randomness`."""
        order = torch.from_numpy(self._stream.uint64(num_patients).argsort())
        return torch.isin(torch.arange(num_patients), order[: int(num_patients * probability)])


class SameSample(KeystreamRandomness):
    """Broken on purpose: pairs of steps share their sample."""

    _last: Tensor | None = None

    def participants(self, num_patients: int, probability: float) -> Tensor:
        """See `Randomness`."""
        last, self._last = self._last, None
        if last is None:
            last = self._last = super().participants(num_patients, probability)
        return last


@pytest.mark.usefixtures("_fixed_entropy")
def test_sampling_is_poisson() -> None:
    assert all(abs(score) < MOST_SCORE for score in sampling_scores(SystemRandomness()))


def test_sampling_of_shuffled_batches_is_caught() -> None:
    assert sampling_scores(FixedSize(bytes(32)))[1] < -MOST_SCORE


def test_sampling_that_repeats_is_caught() -> None:
    assert sampling_scores(SameSample(bytes(32)))[2] > MOST_SCORE
