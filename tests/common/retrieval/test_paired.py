"""Paired counts: their rates and difference by hand, that they add up, and that the intervals cover what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from common.fairness.intervals import Interval
from common.privacy.keystream import KEY_BYTES, Keystream
from common.privacy.mechanisms import DiscreteLaplaceMechanism
from common.retrieval.paired import CONFIDENCE, Paired, Published, published

UNITS = 8
CELLS = st.floats(-50, 500, allow_nan=False)


def paired(*cells: float, variance: float = 0.0) -> Paired:
    both, start_only, final_only, neither = cells
    return Paired(both=both, start_only=start_only, final_only=final_only, neither=neither, noise_variance=variance)


def test_rates_and_difference_are_those_of_the_counts() -> None:
    found = paired(10, 4, 14, 12)
    assert found.start().value == 14 / 40
    assert found.final().value == 24 / 40
    assert found.difference().value == pytest.approx(10 / 40)


@pytest.mark.parametrize(("found", "of"), [(0, 20), (3, 20), (11, 20), (20, 20), (90, 300)])
def test_rate_without_noise_has_wilsons_interval(found: int, of: int) -> None:
    ours = paired(found, 0, 0, of - found).final().interval
    reference = binomtest(found, of).proportion_ci(CONFIDENCE, method="wilson")
    assert (ours.low, ours.high) == pytest.approx((reference.low, reference.high), abs=1e-12)


@given(st.lists(st.tuples(CELLS, CELLS, CELLS, CELLS), min_size=1, max_size=5))
def test_parts_add_up(parts: list[tuple[float, float, float, float]]) -> None:
    whole = Paired.sum_of([paired(*cells, variance=2.0) for cells in parts])
    assert whole.noise_variance == 2.0 * len(parts)
    for number, name in enumerate(("both", "start_only", "final_only", "neither")):
        assert getattr(whole, name) == pytest.approx(sum(cells[number] for cells in parts))


@given(CELLS, CELLS, CELLS, CELLS, st.floats(0, 1e4))
def test_figures_stay_in_range_whatever_the_noise_made_of_the_counts(
    both: float, start_only: float, final_only: float, neither: float, variance: float
) -> None:
    found = paired(both, start_only, final_only, neither, variance=variance)
    if not found.speaks:
        with pytest.raises(ValueError, match="no patient"):
            found.final()
        return
    for estimate in (found.start(), found.final()):
        assert 0 <= estimate.interval.low <= estimate.value <= estimate.interval.high <= 1
    difference = found.difference()
    assert -1 <= difference.interval.low <= difference.value <= difference.interval.high <= 1


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.01, 0.2, "final"), (-0.2, -0.01, "start"), (-0.1, 0.2, "undecided"), (0.0, 0.1, "undecided")],
)
def test_verdict_needs_the_whole_interval(low: float, high: float, verdict: str) -> None:
    assert published(Interval(low, high)) is Published(verdict)


def covered(shares: tuple[float, float, float, float], *, patients: int, epsilon: float, seed: int) -> dict[str, float]:
    """How often intervals of rate and difference hold the truth, over those of 2,000 hospitals that tell a figure."""
    generator = np.random.default_rng(seed)
    noise = DiscreteLaplaceMechanism(
        noise_scale=2 / epsilon, sensitivity=UNITS, stream=lambda: Keystream(bytes([seed % 256] * KEY_BYTES))
    )
    drawn = UNITS * generator.multinomial(patients, shares, size=2000)
    told = noise.noised(drawn.astype(np.int64)) / UNITS
    final, gain = shares[0] + shares[2], shares[2] - shares[1]
    hits = {"rate": 0, "difference": 0}
    tables = [paired(*cells, variance=noise.variance / UNITS**2) for cells in told]
    speaking = [found for found in tables if found.speaks]
    assert len(speaking) >= 0.99 * len(tables)
    for found in speaking:
        rate, difference = found.final().interval, found.difference().interval
        hits["rate"] += rate.low <= final <= rate.high
        hits["difference"] += difference.low <= gain <= difference.high
    return {name: number / len(speaking) for name, number in hits.items()}


@pytest.mark.parametrize("patients", [30, 100, 300])
@pytest.mark.parametrize("epsilon", [1.0, 2.0])
def test_intervals_cover_sampling_and_noise(patients: int, epsilon: float) -> None:
    """Of 2,000 at 95% a right interval covers fewer than 93% with probability 4e-5.

    That of a difference is a little wide where noise drowns 30 patients: over 24,000 hospitals it covers 96.7%. So
    sampling and noise have a key each, and the test sees the same hospitals each time.
    """
    for shares in ((0.2, 0.05, 0.1, 0.65), (0.4, 0.1, 0.1, 0.4)):
        found = covered(shares, patients=patients, epsilon=epsilon, seed=patients)
        assert all(0.93 <= share <= 0.97 for share in found.values()), (shares, found)


def test_interval_that_forgets_the_noise_covers_too_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DiscreteLaplaceMechanism, "variance", 0.0)
    found = covered((0.2, 0.05, 0.1, 0.65), patients=100, epsilon=1.0, seed=1)
    assert all(share < 0.93 for share in found.values()), found
