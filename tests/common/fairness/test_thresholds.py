"""Thresholds by group: against a search over single scores, and how often their intervals hold."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from common.fairness.scores import BIN_EDGES, NUM_BINS, OPERATING_PROBABILITY, PairScores
from common.fairness.thresholds import GroupThreshold, thresholds_of

FEWEST = 11.0


def told(
    relevant: NDArray[np.float64], irrelevant: NDArray[np.float64], *, variance: float = 0.0, seed: int = 0
) -> PairScores:
    """Scores as counts, with noise of a variance in each."""
    counts = [np.histogram(scores, (0.0, *BIN_EDGES, 1.0))[0].astype(float) for scores in (relevant, irrelevant)]
    noise = np.random.default_rng(seed).normal(0.0, np.sqrt(variance), (2, NUM_BINS))
    return PairScores(counts[0] + noise[0], counts[1] + noise[1], variance * np.eye(2 * NUM_BINS))


def drawn(num: int, *, shift: float, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probabilities of right and of wrong pairs of a group whose scores all lie lower by a shift."""
    generator = np.random.default_rng(seed)
    return tuple(np.clip(generator.uniform(low, high, num) - shift, 0, 1) for low, high in ((0.35, 1.0), (0.2, 0.8)))  # type: ignore[return-value]


def found(scores: dict[str, PairScores]) -> dict[str, GroupThreshold]:
    return thresholds_of(scores, least_patients=FEWEST, generator=np.random.default_rng(0))


def rates(scores: tuple[NDArray[np.float64], NDArray[np.float64]], threshold: float) -> NDArray[np.float64]:
    return np.array([(one >= threshold).mean() for one in scores])


def test_groups_that_score_alike_keep_the_public_threshold() -> None:
    one = told(*drawn(4000, shift=0.0, seed=1))
    assert {name: own.value for name, own in found({"a": one, "b": one}).items()} == {"a": 0.5, "b": 0.5}


def test_threshold_brings_a_group_as_near_as_any_single_threshold_does() -> None:
    """Searched over single scores, which the histogram never sees."""
    groups = {"a": drawn(20_000, shift=0.15, seed=2), "b": drawn(20_000, shift=0.0, seed=3)}
    own = found({name: told(*scores) for name, scores in groups.items()})
    aim = sum(rates(scores, OPERATING_PROBABILITY) for scores in groups.values()) / len(groups)
    for name, scores in groups.items():
        best = min(np.abs(rates(scores, one) - aim).max() for one in np.linspace(0, 1, 1001))
        assert np.abs(rates(scores, own[name].value) - aim).max() <= best + 0.02
    assert own["a"].value < OPERATING_PROBABILITY < own["b"].value
    before, after = (
        np.abs(rates(groups["a"], at["a"]) - rates(groups["b"], at["b"])).max()
        for at in ({"a": 0.5, "b": 0.5}, {name: one.value for name, one in own.items()})
    )
    assert after < before / 4


def test_a_group_of_few_keeps_the_public_threshold_and_says_that_it_may_be_any() -> None:
    own = found({"few": told(*drawn(10, shift=0.3, seed=4)), "many": told(*drawn(1000, shift=0.0, seed=5))})
    assert own["few"].value == OPERATING_PROBABILITY
    assert (own["few"].interval.low, own["few"].interval.high) == (0.0, 1.0)


def test_noise_that_drowns_the_counts_leaves_thresholds_in_range() -> None:
    nothing = np.zeros(NUM_BINS)
    drowned = PairScores(nothing - 50, nothing - 50, 1e6 * np.eye(2 * NUM_BINS))
    own = found({"a": drowned, "b": drowned})
    assert all(0 <= one.interval.low <= one.value <= one.interval.high <= 1 for one in own.values())


@pytest.mark.parametrize("variance", [0.0, 70.0])
def test_intervals_hold_the_threshold_of_very_many_patients(variance: float) -> None:
    """60 releases of 300 patients a group. Too short ones, of half the length, hold in about 67%."""
    shifts = {"a": 0.15, "b": 0.0}
    truth = found({name: told(*drawn(200_000, shift=shift, seed=6)) for name, shift in shifts.items()})
    held = []
    for seed in range(60):
        own = found(
            {
                name: told(*drawn(300, shift=shift, seed=1000 * seed + place), variance=variance, seed=seed + 7 * place)
                for place, (name, shift) in enumerate(shifts.items())
            }
        )
        held += [own[name].interval.low <= truth[name].value <= own[name].interval.high for name in shifts]
    assert np.mean(held) >= 0.87  # a right one falls below with probability 0.001
