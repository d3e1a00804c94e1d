"""The least noise that scores show, on the ideal sampled Gaussian mechanism: it holds, and it is near."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom, nct

from simulations.audits.privacy.bounds.gaussian_scores import most_noise, noncentral_t_tail

CONFIDENCE, RUNS, CANARIES = 0.95, 100, 1000
ALLOWED = int(binom.isf(1e-6, RUNS, 1 - CONFIDENCE))


def scores(
    generator: np.random.Generator, noise: float, *, q: float, steps: int, length: float = 1.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of canaries that were in and out, by the mechanism's own steps."""
    is_in = generator.random(CANARIES) < 0.5
    joined = (generator.random((steps, CANARIES)) < q) & is_in
    total = (length * joined + noise * generator.standard_normal((steps, CANARIES))).sum(axis=0)
    return total[is_in], total[~is_in]


def bound(pair: tuple[NDArray[np.float64], NDArray[np.float64]], *, q: float, steps: int, confidence: float) -> float:
    return most_noise(*pair, sampling_probability=q, steps=steps, confidence=confidence)


@pytest.mark.parametrize(("noise", "q", "steps"), [(1.0, 1.0, 1), (1.5, 0.3, 10), (0.8, 0.1, 20)])
def test_bound_holds_and_is_near(noise: float, q: float, steps: int) -> None:
    """100 runs: it is too small in as many as stated; the false alarm rate of this test is 1e-6."""
    generator = np.random.default_rng(4)
    found = np.array(
        [
            bound(scores(generator, noise, q=q, steps=steps), q=q, steps=steps, confidence=CONFIDENCE)
            for _ in range(RUNS)
        ]
    )
    assert (found < noise).sum() <= ALLOWED
    assert np.median(found) < 1.35 * noise


@pytest.mark.parametrize("length", [0.5, 0.9])
def test_short_canaries_only_weaken_it(length: float) -> None:
    generator = np.random.default_rng(5)
    for _ in range(20):
        assert bound(scores(generator, 1.0, q=1.0, steps=4, length=length), q=1.0, steps=4, confidence=0.99) > 1.0


def test_half_the_noise_is_caught_at_one_in_a_million() -> None:
    generator, claimed = np.random.default_rng(6), 1.08
    for _ in range(20):
        assert bound(scores(generator, claimed / 2, q=1.0, steps=1), q=1.0, steps=1, confidence=1 - 1e-6) < claimed


@pytest.mark.parametrize("degrees", [9, 60, 499])
@pytest.mark.parametrize(("value", "centre"), [(1.0, 0.5), (20.0, 14.0), (8.0, 14.0), (3.0, 8.0), (40.0, 30.0)])
def test_tail_is_that_of_scipys_series(degrees: int, value: float, centre: float) -> None:
    expected = nct.sf(value, degrees, centre)
    assert noncentral_t_tail(value, degrees=degrees, centre=centre) == pytest.approx(expected, rel=1e-4, abs=1e-11)


def test_tail_of_many_degrees_is_a_normal_one() -> None:
    """Where the series gives up; n = 400,000 draws of the law itself, within 5 standard errors."""
    generator, degrees, centre, value = np.random.default_rng(11), 40_000, 90.0, 91.0
    drawn = (generator.standard_normal(400_000) + centre) / np.sqrt(generator.chisquare(degrees, 400_000) / degrees)
    share = float((drawn >= value).mean())
    assert abs(noncentral_t_tail(value, degrees=degrees, centre=centre) - share) < 5 * math.sqrt(share / 400_000)


def test_no_noise_and_no_signal() -> None:
    ones, zeros, same = np.ones(20), np.zeros(20), np.random.default_rng(7).standard_normal(20)
    assert bound((ones, zeros), q=1.0, steps=1, confidence=CONFIDENCE) == 0.0
    assert bound((same, same), q=1.0, steps=1, confidence=CONFIDENCE) == math.inf
    with pytest.raises(ValueError, match="needs 10"):
        bound((ones[:5], zeros), q=1.0, steps=1, confidence=CONFIDENCE)
