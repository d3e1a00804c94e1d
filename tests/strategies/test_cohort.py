"""The lazily mixed cohort against explicit products of matrices in float64.

Shapes: S sites, T points, P values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from common.errors import AggregationError
from strategies import blocks
from strategies.cohort import Cohort, ReduceRows


def _cohort(num_sites: int = 6, num_values: int = 40, *, num_byzantine: int = 1) -> Cohort:
    generator = torch.Generator().manual_seed(1)
    updates_SP = torch.randn(num_sites, num_values, generator=generator)
    return Cohort.of(updates_SP, torch.arange(1.0, num_sites + 1), num_byzantine=num_byzantine)


def _mixing(num_made: int, num_points: int, *, seed: int, total: float) -> Tensor:
    mixing = torch.rand(num_made, num_points, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return total * mixing / mixing.sum(1, keepdim=True)


FIRST, SECOND = _mixing(6, 6, seed=2, total=0.7), _mixing(4, 6, seed=3, total=1.0)


def _explicit(cohort: Cohort) -> Tensor:
    return SECOND @ (FIRST @ cohort.updates_SP.double())


def _copy_of(row: int) -> ReduceRows:
    def reduce(rows: Sequence[Tensor], out_B: Tensor) -> None:
        out_B.copy_(rows[row])

    return reduce


def test_mixed_points_stand_where_the_products_of_the_matrices_do() -> None:
    cohort = _cohort()
    mixed = cohort.mixed(FIRST).mixed(SECOND)
    expected_TP = _explicit(cohort)
    assert mixed.num_points == 4
    np.testing.assert_allclose(mixed.points.between_updates, torch.cdist(expected_TP, expected_TP) ** 2, atol=1e-4)
    np.testing.assert_allclose(mixed.points.squared_norms, expected_TP.square().sum(1), rtol=1e-4)
    further_P = torch.linspace(-1, 1, 40)
    with_further = mixed.points_with(further_P)
    np.testing.assert_allclose(with_further.distances_NN[5, :4], (expected_TP - further_P).square().sum(1), rtol=1e-4)


@pytest.mark.parametrize("block", [1, 7, 64])
def test_combination_and_rows_are_those_of_the_products(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(blocks.BLOCK_VALUES, "cpu", block)
    cohort = _cohort()
    mixed = cohort.mixed(FIRST).mixed(SECOND)
    expected_TP = _explicit(cohort)
    weights_T = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    np.testing.assert_allclose(mixed.weighted_sum(weights_T), weights_T @ expected_TP, atol=1e-6)
    for row in range(4):
        found_P = mixed.by_coordinate(lambda row=row: _copy_of(row))  # type: ignore[misc]
        np.testing.assert_allclose(found_P, expected_TP[row], atol=1e-6)
        np.testing.assert_allclose(mixed.sampled_rows()[row], expected_TP[row], atol=1e-6)


def test_mixing_looks_at_no_value_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Distances of mixed points follow from those of the updates, without another pass."""
    cohort = _cohort()
    before = cohort.points
    monkeypatch.setattr("strategies.cohort.measure", None)
    assert cohort.mixed(FIRST).mixed(SECOND).points.num_updates == 4
    assert before is cohort.points


def test_public_weights_follow_the_mixing() -> None:
    cohort = _cohort()
    mixed = cohort.mixed(FIRST)
    share = FIRST / FIRST.sum(1, keepdim=True)
    np.testing.assert_allclose(mixed.weights_T, share @ torch.arange(1.0, 7.0).double())


def test_site_weights_are_shares_of_the_updates() -> None:
    mixed = _cohort().mixed(FIRST).mixed(SECOND)
    weights_T = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    expected_S = weights_T @ SECOND @ FIRST
    found_S = mixed.site_weights(weights_T)
    np.testing.assert_allclose(found_S, expected_S / expected_S.sum(), rtol=1e-6)
    assert found_S.dtype == torch.float32


@pytest.mark.parametrize("broken", [[0], [2, 5], []])
def test_broken_updates_leave_with_as_many_bad_sites(broken: list[int]) -> None:
    updates_AP = torch.randn(6, 9, generator=torch.Generator().manual_seed(4))
    for site, value in zip(broken, (math.nan, -math.inf), strict=False):
        updates_AP[site, site] = value
    cohort = Cohort.of(updates_AP, torch.arange(1.0, 7.0), num_byzantine=2)
    kept = [site for site in range(6) if site not in broken]
    assert torch.equal(cohort.updates_SP, updates_AP[kept])
    assert cohort.num_byzantine == 2 - len(broken)
    assert cohort.kept_A.tolist() == [site in kept for site in range(6)]
    assert cohort.weights_T.tolist() == [site + 1.0 for site in kept]
    weights_A = cohort.site_weights(torch.full((len(kept),), 1 / len(kept), dtype=torch.float64))
    assert [site for site in range(6) if weights_A[site] == 0] == broken


def test_more_broken_updates_than_bad_sites_are_refused_with_their_number() -> None:
    with pytest.raises(AggregationError, match=r"2 of 3 admitted updates are not finite.*num_byzantine=1"):
        Cohort.of(torch.tensor([[1.0], [math.nan], [math.inf]]), torch.ones(3), num_byzantine=1)


def test_cohort_of_nothing_is_refused() -> None:
    with pytest.raises(AggregationError, match="no update was admitted"):
        Cohort.of(torch.empty(0, 3), torch.empty(0), num_byzantine=0)


def test_cohort_keeps_no_copy_of_finite_updates() -> None:
    updates_AP = torch.ones(3, 4)
    assert Cohort.of(updates_AP, torch.ones(3), num_byzantine=1).updates_SP.data_ptr() == updates_AP.data_ptr()
