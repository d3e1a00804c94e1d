"""Distances from inner products against differences in float64, where float32 makes them hard.

Shapes: S sites, P values.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from strategies import blocks
from strategies.gram import measure


def _measured(updates_SP: Tensor, *further_P: Tensor) -> np.ndarray:
    return measure(updates_SP, updates_SP.abs().amax(1), *further_P).distances_NN.numpy()


def _exact(*points_P: Tensor) -> np.ndarray:
    points_NP = np.stack([point_P.double().numpy() for point_P in points_P])
    return np.array([[((a - b) ** 2).sum() for a in points_NP] for b in points_NP])


def _normal(num_sites: int, num_values: int, seed: int) -> Tensor:
    return torch.randn(num_sites, num_values, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [(1, 5), (2, 1), (3, 700), (10, 64), (13, 3000)])
def test_distances_are_those_of_differences(size: tuple[int, int]) -> None:
    updates_SP, further_P = _normal(*size, seed=1), _normal(2, size[1], seed=2)
    expected = _exact(*updates_SP, torch.zeros(size[1]), *further_P)
    np.testing.assert_allclose(_measured(updates_SP, *further_P), expected, rtol=2e-5, atol=1e-5 * expected.max())


def test_points_tell_updates_from_the_rest() -> None:
    updates_SP = _normal(4, 50, seed=3)
    points = measure(updates_SP, updates_SP.abs().amax(1), torch.ones(50))
    assert points.num_updates == 4
    assert points.between_updates.shape == (4, 4)
    np.testing.assert_allclose(points.squared_norms, updates_SP.double().square().sum(1), rtol=1e-5)
    assert torch.equal(points.distances_NN, points.distances_NN.T)
    assert not points.distances_NN.diagonal().any()


@pytest.mark.parametrize(("offset", "spread"), [(1e6, 1.0), (1e6, 1e-3), (100.0, 1e-3), (1e4, 1e-2), (1e-20, 1e-24)])
def test_common_offset_costs_no_digit(offset: float, spread: float) -> None:
    updates_SP = _normal(10, 500, seed=4) * spread + offset
    expected = _exact(*updates_SP)
    found = _measured(updates_SP)[:10, :10]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7 * expected.max())


def test_products_about_zero_would_lose_them() -> None:
    """The control: the same distances from inner products as they come."""
    updates_SP = _normal(10, 500, seed=4) * 1e-3 + 100
    gram = (updates_SP @ updates_SP.T).double()
    norms = gram.diagonal()
    naive = norms[:, None] + norms[None] - 2 * gram
    expected = _exact(*updates_SP)
    assert np.abs(naive.numpy() - expected).max() > 100 * expected.max()


@pytest.mark.parametrize("scale", [1e-25, 1e-30, 1e-12, 1e12, 1e20, 1e35])
def test_sizes_whose_squares_no_float32_holds(scale: float) -> None:
    updates_SP = _normal(7, 300, seed=5)
    found = _measured((updates_SP.double() * scale).float())[:7, :7] / scale**2
    np.testing.assert_allclose(found, _exact(*updates_SP), rtol=1e-4)


@pytest.mark.parametrize("hostile", [1e30, 3e38, -3e38, 1e15, 1e8])
@pytest.mark.parametrize("num_bad", [1, 3])
@pytest.mark.parametrize("scale", [1.0, 1e-20])
def test_hostile_rows_leave_the_others_distances_alone(hostile: float, num_bad: int, scale: float) -> None:
    updates_SP = _normal(8, 400, seed=6) * scale
    updates_SP[:num_bad] = hostile
    found = _measured(updates_SP)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[num_bad:8, num_bad:8], _exact(*updates_SP[num_bad:]), rtol=1e-4)
    np.testing.assert_allclose(found[0, num_bad:8], _exact(updates_SP[0], *updates_SP[num_bad:])[0, 1:], rtol=1e-4)


@pytest.mark.parametrize("bad", [1e3, 3e3, 1e7, 1e30])
def test_centre_moves_away_from_a_bad_site_that_the_sample_does_not_show(bad: float) -> None:
    """The sample sees every 4th value; a site that is average there and far elsewhere looks like the best centre."""
    num_values = 4 * 4096
    updates_SP = _normal(7, num_values, seed=7) + 5
    hidden_P = updates_SP[1:].mean(0)
    hidden_P[1::4] = bad
    updates_SP[0] = hidden_P
    found = _measured(updates_SP)[1:7, 1:7]
    np.testing.assert_allclose(found, _exact(*updates_SP[1:]), rtol=1e-4)


def test_equal_updates_are_at_no_distance() -> None:
    assert not _measured(torch.full((4, 30), 0.7))[:4, :4].any()
    assert not _measured(torch.zeros(3, 30)).any()


def test_more_values_than_a_block_and_sum_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(blocks.BLOCK_VALUES, "cpu", 100)
    updates_SP = _normal(5, 20_011, seed=8)
    np.testing.assert_allclose(_measured(updates_SP)[:5, :5], _exact(*updates_SP), rtol=1e-6)
