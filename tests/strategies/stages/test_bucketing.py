"""Bucketing: each update in one bucket of two, another grouping in each round, none more likely than another.

Shapes: T points, M buckets.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import scipy.stats
import torch

from strategies.gram import Points
from strategies.stages.bucketing import Bucketing
from tests.strategies.cohorts import composition, honest_updates
from tests.strategies.references import RULE_REFERENCES


def _mixing(num_points: int, seed: int) -> torch.Tensor:
    points = Points(torch.zeros(num_points + 1, num_points + 1, dtype=torch.float64), num_points)
    return Bucketing().mixing(points, 1, seed=seed)


@pytest.mark.parametrize("num_points", [1, 2, 5, 10, 13])
def test_every_update_is_in_one_bucket(num_points: int) -> None:
    mixing_MT = _mixing(num_points, seed=3)
    assert len(mixing_MT) == Bucketing().num_points(num_points, 1) == (num_points + 1) // 2
    assert torch.equal((mixing_MT > 0).sum(0), torch.ones(num_points, dtype=torch.int64))
    assert sorted((mixing_MT > 0).sum(1).tolist()) == [1] * (num_points % 2) + [2] * (num_points // 2)
    torch.testing.assert_close(mixing_MT.sum(1), torch.ones(len(mixing_MT), dtype=torch.float64))


def test_every_pair_is_as_likely_as_another() -> None:
    """Chi-square over the 15 pairs of 6 updates in 3,000 rounds; false alarms in 1 of 1,000 draws of the seed."""
    pairs = list(combinations(range(6), 2))
    counts = dict.fromkeys(pairs, 0)
    for seed in range(3000):
        for row_T in _mixing(6, seed):
            counts[tuple(row_T.nonzero().flatten().tolist())] += 1
    assert sum(counts.values()) == 9000
    # The three pairs of a round exclude each other, which only narrows the spread.
    assert scipy.stats.chisquare(list(counts.values())).pvalue > 0.001
    counts[pairs[0]] += 300  # the control: one pair half as likely again
    assert scipy.stats.chisquare(list(counts.values())).pvalue < 0.001


def test_result_is_the_rule_on_the_means_of_the_buckets() -> None:
    """Of all groupings of 6 updates into pairs, the result must belong to one."""
    updates_SP = honest_updates("iid", 6, 9, torch.Generator().manual_seed(0))
    built = composition("bucketing+median", 1)
    found_P = built.aggregate(updates_SP, torch.ones(6), built.init()).update_P.numpy()
    exact_SP = updates_SP.double().numpy()
    results = [RULE_REFERENCES["median"](exact_SP[list(groups)].reshape(3, 2, 9).mean(1), 1) for groups in _groupings()]
    assert len(results) == 15
    assert sum(np.allclose(found_P, result, atol=1e-5) for result in results) == 1


def _groupings() -> list[tuple[int, ...]]:
    found = {}
    for first in combinations(range(6), 2):
        left = [site for site in range(6) if site not in first]
        for second in combinations(left, 2):
            third = tuple(site for site in left if site not in second)
            found[frozenset({first, second, third})] = (*first, *second, *third)
    return list(found.values())


def test_each_round_draws_anew_and_the_same_seed_the_same() -> None:
    updates_SP = honest_updates("iid", 10, 9, torch.Generator().manual_seed(0))

    def rounds(seed: int) -> list[torch.Tensor]:
        built = composition("bucketing+median", 1, seed=seed)
        state, results = built.init(), []
        for _ in range(4):
            found = built.aggregate(updates_SP, torch.ones(10), state)
            state = found.state
            results.append(found.update_P)
        return results

    first, again, other = rounds(0), rounds(0), rounds(1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in combinations(first, 2))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
