"""Bounds of two worlds: exact coverage of the interval, ideal mechanisms, and claims that are too small."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom, norm

from simulations.audits.privacy.bounds.trade_off import mu_of_epsilon
from simulations.audits.privacy.bounds.two_worlds import (
    Trials,
    clopper_pearson_upper,
    epsilon_of_trials,
    gaussian_epsilon_of_trials,
)

CONFIDENCE, RUNS = 0.95, 500
ALLOWED = int(binom.isf(1e-6, RUNS, 1 - CONFIDENCE))


def trials(generator: np.random.Generator, missed: float, alarms: float, num: int = 1000) -> Trials:
    return Trials(
        num_with=num,
        missed=int(generator.binomial(num, missed)),
        num_without=num,
        alarms=int(generator.binomial(num, alarms)),
    )


@pytest.mark.parametrize("rate", [0.001, 0.02, 0.5, 0.97])
def test_interval_covers_at_least_as_often_as_stated(rate: float) -> None:
    """Exactly, by the sum over all counts."""
    covered = sum(
        binom.pmf(count, 60, rate) for count in range(61) if clopper_pearson_upper(count, 60, CONFIDENCE) >= rate
    )
    assert covered >= CONFIDENCE


def test_bound_holds_for_randomised_response_and_is_near() -> None:
    generator, flips = np.random.default_rng(8), 1 / (1 + math.exp(1.0))
    found = np.array(
        [epsilon_of_trials(trials(generator, flips, flips), delta=0.0, confidence=CONFIDENCE) for _ in range(RUNS)]
    )
    assert (found > 1.0).sum() <= ALLOWED
    assert np.median(found) > 0.7


def test_gaussian_bound_holds_and_is_nearer() -> None:
    generator, delta = np.random.default_rng(9), 1e-5
    mu = mu_of_epsilon(4.0, delta)
    runs = [trials(generator, norm.cdf(-mu / 2), norm.cdf(-mu / 2)) for _ in range(RUNS)]
    gaussian = np.array([gaussian_epsilon_of_trials(one, delta=delta, confidence=CONFIDENCE) for one in runs])
    any_law = np.array([epsilon_of_trials(one, delta=delta, confidence=CONFIDENCE) for one in runs])
    assert (gaussian > 4.0).sum() <= ALLOWED
    assert (any_law > 4.0).sum() == 0
    assert np.median(gaussian) > 3.0
    assert np.median(any_law) < 1.5


def test_claim_that_is_too_small_is_refuted() -> None:
    generator = np.random.default_rng(10)
    assert epsilon_of_trials(trials(generator, 0.05, 0.05), delta=1e-5, confidence=1 - 1e-6) > 1


def test_impossible_trials_are_refused() -> None:
    with pytest.raises(ValueError, match="more errors"):
        Trials(num_with=3, missed=4, num_without=3, alarms=0)
    with pytest.raises(ValueError, match="both"):
        Trials(num_with=0, missed=0, num_without=3, alarms=0)
