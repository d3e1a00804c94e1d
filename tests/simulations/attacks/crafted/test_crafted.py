"""Each crafted update against its paper, by loops over pairs of sites in NumPy.

Shapes: H honest sites, P parameters.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import norm
from torch import Tensor

from simulations.attacks.crafted.interface import View
from simulations.attacks.crafted.registry import CRAFTED
from simulations.attacks.registry import ATTACKS

FAR = 1e6
"""A bound that no attack but noise comes near."""


def _view(*, sites: int = 10, attackers: int = 2, max_norm: float = FAR, seed: int = 0) -> View:
    return View(
        num_sites=sites,
        num_attackers=attackers,
        max_norm=max_norm,
        round_number=1,
        generator=torch.Generator().manual_seed(seed),
    )


def _honest(*, sites: int = 8, seed: int = 0, num_values: int = 60) -> Tensor:
    """Sites that share a direction, and differ by scale and coordinate."""
    drawn = np.random.default_rng(seed)
    spread = drawn.uniform(0.2, 3, (sites, 1)) * drawn.uniform(0.1, 2, num_values)
    return torch.tensor(1 + spread * drawn.normal(size=(sites, num_values)), dtype=torch.float32)


def _craft(name: str, honest_HP: Tensor, view: View | None = None) -> NDArray[np.float64]:
    return CRAFTED.load(name)(honest_HP, view or _view()).double().numpy()


def _squared(one: NDArray[Any], other: NDArray[Any]) -> float:
    return float(np.square(one - other).sum())


def test_each_is_an_attack_of_its_name() -> None:
    for name in CRAFTED.names:
        assert ATTACKS.load(name).craft is CRAFTED.load(name)


@pytest.mark.parametrize("name", CRAFTED.names)
@given(
    seed=st.integers(0, 10**6),
    honest=st.integers(1, 12),
    attackers=st.integers(1, 11),
    max_norm=st.sampled_from([1e-3, 1.0, 100.0]),
    scale=st.sampled_from([0.0, 1e-3, 1.0, 1e4]),
)
@settings(max_examples=25, deadline=None)
def test_finite_below_the_bound_and_a_function_of_its_arguments(
    name: str, seed: int, honest: int, attackers: int, max_norm: float, scale: float
) -> None:
    honest_HP = scale * _honest(sites=honest, seed=seed)
    # What honest sites send has passed admission.
    honest_HP *= torch.clamp(max_norm / honest_HP.norm(dim=1, keepdim=True).clamp(min=1e-12), max=1)
    before = honest_HP.clone()

    def crafted() -> Tensor:
        return CRAFTED.load(name)(
            honest_HP, _view(sites=honest + attackers, attackers=attackers, max_norm=max_norm, seed=seed)
        )

    found = crafted()
    assert found.shape == honest_HP.shape[1:]
    assert found.dtype == honest_HP.dtype
    assert bool(found.isfinite().all())
    assert float(found.double().norm()) <= max_norm * (1 + 1e-5)
    assert torch.equal(found, crafted())
    assert torch.equal(honest_HP, before)


@pytest.mark.parametrize("name", sorted({*CRAFTED.names} - {"gaussian"}))
def test_order_of_the_sites_changes_nothing(name: str) -> None:
    honest_HP = _honest()
    np.testing.assert_allclose(_craft(name, honest_HP.flip(0)), _craft(name, honest_HP), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("sites", "attackers"), [(50, 12), (51, 24), (25, 5), (10, 4)])
def test_alie_stands_where_the_normal_quantile_says(sites: int, attackers: int) -> None:
    honest_HP = _honest(sites=sites - attackers)
    honest = honest_HP.double().numpy()
    supporters = int(np.floor(sites / 2 + 1)) - attackers
    z = norm.ppf((sites - attackers - supporters) / (sites - attackers))
    assert z > 0
    expected = [column.mean() - z * np.sqrt(np.mean((column - column.mean()) ** 2)) for column in honest.T]
    found = _craft("alie", honest_HP, _view(sites=sites, attackers=attackers))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("sites", "attackers"), [(10, 2), (10, 1), (5, 1), (4, 3), (10, 9)])
def test_alie_takes_the_authors_default_where_the_quantile_is_none(sites: int, attackers: int) -> None:
    honest_HP = _honest(sites=sites - attackers)
    honest = honest_HP.double().numpy()
    found = _craft("alie", honest_HP, _view(sites=sites, attackers=attackers))
    np.testing.assert_allclose(found, honest.mean(axis=0) - 1.5 * honest.std(axis=0), rtol=1e-4, atol=1e-5)


def test_ipm_turns_the_mean_of_all_sites_around() -> None:
    honest_HP = _honest()
    found, mean = _craft("ipm", honest_HP), honest_HP.double().numpy().mean(axis=0)
    assert found @ mean < 0
    of_all = np.vstack([honest_HP.double().numpy(), found, found]).mean(axis=0)
    np.testing.assert_allclose(of_all, -mean, rtol=1e-4, atol=1e-5)


def test_ipm_keeps_its_direction_at_the_bound() -> None:
    honest_HP = _honest()
    found, mean = _craft("ipm", honest_HP, _view(max_norm=5.0)), honest_HP.double().numpy().mean(axis=0)
    assert np.linalg.norm(found) == pytest.approx(0.99 * 5)
    assert found @ mean == pytest.approx(-np.linalg.norm(found) * np.linalg.norm(mean), rel=1e-6)


def test_mimic_copies_the_site_that_lies_furthest_out_along_the_first_principal_direction() -> None:
    honest_HP = _honest()
    honest = honest_HP.double().numpy()
    centred = honest - honest.mean(axis=0)
    direction = np.linalg.svd(centred)[2][0]
    expected = honest_HP[int(np.abs(centred @ direction).argmax())]
    assert torch.equal(CRAFTED.load("mimic")(honest_HP, _view()), expected)


def test_min_max_is_as_far_from_a_site_as_two_sites_are_and_no_further() -> None:
    honest_HP = _honest()
    honest, found = honest_HP.double().numpy(), _craft("min_max", honest_HP)
    furthest = max(_squared(one, other) for one in honest for other in honest)

    def reach(update: NDArray[np.float64]) -> float:
        return max(_squared(update, site) for site in honest)

    assert reach(found) <= furthest * (1 + 1e-5)
    mean = honest.mean(axis=0)
    assert reach(mean + 1.01 * (found - mean)) > furthest


def test_min_sum_has_the_distances_of_the_most_remote_site_and_no_more() -> None:
    honest_HP = _honest()
    honest, found = honest_HP.double().numpy(), _craft("min_sum", honest_HP)

    def total(update: NDArray[np.float64]) -> float:
        return sum(_squared(update, site) for site in honest)

    most = max(total(site) for site in honest)
    assert total(found) <= most * (1 + 1e-5)
    mean = honest.mean(axis=0)
    assert total(mean + 1.01 * (found - mean)) > most


@pytest.mark.parametrize("name", ["min_max", "min_sum"])
def test_deviation_points_against_the_standard_deviation(name: str) -> None:
    honest_HP = _honest()
    honest = honest_HP.double().numpy()
    moved = _craft(name, honest_HP) - honest.mean(axis=0)
    cosine = moved @ -honest.std(axis=0) / np.linalg.norm(moved) / np.linalg.norm(honest.std(axis=0))
    assert cosine == pytest.approx(1, abs=1e-6)


def test_gaussian_has_the_greatest_norm_and_another_direction_with_another_seed() -> None:
    honest_HP = _honest(num_values=4000)
    one, other = (_craft("gaussian", honest_HP, _view(max_norm=100.0, seed=seed)) for seed in (0, 1))
    assert np.linalg.norm(one) == pytest.approx(99)
    # The cosine of two random directions has deviation 1 / sqrt(4000): 5 of them, false alarm 6e-7.
    assert abs(one @ other) / 99**2 < 5 / np.sqrt(4000)
