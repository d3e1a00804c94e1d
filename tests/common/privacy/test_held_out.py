"""The noise of held-out counts: which kind a run has, what it costs, and what of it stays in the sum over sites."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from common.config.load import load_config
from common.config.schema import RunConfig
from common.privacy.count_noise import UNITS, GaussianCountNoise, LaplaceCountNoise
from common.privacy.held_out import FIGURES, noise_of


def run_of(num_sites: int, *overrides: str, band: str = "64-127") -> RunConfig:
    """A run of so many sites that share noise."""
    config = load_config(["privacy.noise=shared", "aggregator.name=caf", "evaluation.epsilon=1", *overrides])
    cohort = {f"site-{number:02}": band for number in range(num_sites)}
    return replace(config, privacy=replace(config.privacy, cohort=cohort))


def shared_noise(config: RunConfig) -> GaussianCountNoise:
    noise = noise_of(config)
    assert isinstance(noise, GaussianCountNoise)
    return noise


def gaussian_delta(multiplier: float, epsilon: float) -> float:
    """Delta of a Gaussian mechanism (Balle and Wang, ICML 2018, theorem 8)."""
    a, b = 1 / (2 * multiplier), epsilon * multiplier
    return float(norm.cdf(a - b) - math.exp(epsilon) * norm.cdf(-a - b))


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 4.0])
def test_shared_noise_spends_the_runs_epsilon_at_its_delta(epsilon: float) -> None:
    noise = shared_noise(run_of(10, f"evaluation.epsilon={epsilon}", "privacy.delta=1e-4"))
    assert noise.event.noise_multiplier == noise.multiplier
    assert 0.98e-4 <= gaussian_delta(noise.multiplier, epsilon) <= 1.001e-4


def test_delta_is_that_of_the_site_which_needs_the_smallest() -> None:
    mixed = run_of(10)
    mixed.privacy.cohort["site-03"] = "512-1023"
    assert shared_noise(mixed).multiplier == shared_noise(run_of(10, band="512-1023")).multiplier
    assert shared_noise(mixed).multiplier > shared_noise(run_of(10)).multiplier


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (run_of(3), LaplaceCountNoise),  # Laplace noise leaves less in a sum over three
        (run_of(10), GaussianCountNoise),
        (run_of(10, "privacy.noise=own", "aggregator.name=mean"), LaplaceCountNoise),
        (run_of(10, "privacy.epsilon=null"), LaplaceCountNoise),
        (run_of(0), LaplaceCountNoise),
    ],
)
def test_run_has_the_noise_that_leaves_less_in_the_sum(config: RunConfig, kind: type) -> None:
    assert type(noise_of(config)) is kind


@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("missing", [(), ("site-00",), ("site-00", "site-01", "site-09", "site-15")])
def test_variance_in_the_sum_is_that_of_what_does_not_cancel(factor: int, missing: tuple[str, ...]) -> None:
    """Against the covariance of all sites' noise, built draw by draw, in a ring of sixteen."""
    noise = shared_noise(run_of(16, f"privacy.pair_factor={factor}"))
    names = sorted(noise.cohort)
    draws = [np.eye(16)]  # one column a draw: each site's own, then one for each pair
    for first in range(16):
        for second in range(first + 1, 16):
            if min(second - first, 16 - second + first) <= 6:  # twelve nearest of the ring
                column = np.zeros((16, 1))
                column[first], column[second] = factor, -factor
                draws.append(column)
    mixing = np.hstack(draws)
    told = [name for name in names if name not in missing]
    in_sum = mixing[[names.index(name) for name in told]].sum(axis=0)
    unit = 2 * (noise.own_multiplier) ** 2  # both vectors, in patients squared
    assert sum(noise.variance_in_sum(name, among=told) for name in told) == pytest.approx(unit * (in_sum**2).sum())
    assert noise.variance == pytest.approx(unit * (mixing[0] ** 2).sum())
    assert noise.deviation == pytest.approx(UNITS * math.sqrt(unit))
    rows = mixing[[names.index(name) for name in told]]
    assert noise.covariance(told) == pytest.approx(unit * rows @ rows.T)
    assert FIGURES == 2


def test_sum_over_a_whole_cohort_is_as_noisy_as_one_site_alone() -> None:
    """Ten sites, one of which may collude: the sum has the noise of sqrt(10 * 2 / 10) sites, not of ten."""
    noise = shared_noise(run_of(10))
    whole = sum(noise.variance_in_sum(name, among=noise.cohort) for name in noise.cohort)
    assert whole == pytest.approx(2 * 2 * noise.multiplier**2)


def test_everybody_else_together_faces_the_own_draw_alone() -> None:
    noise = shared_noise(run_of(10))
    assert noise.event_alone.noise_multiplier == noise.own_multiplier < noise.event.noise_multiplier
