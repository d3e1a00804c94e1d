"""The geometric median by what defines it: the pulls of the updates cancel, or an update holds it.

Shapes: S sites, P values.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.strategies.cohorts import KINDS, PLACES, aggregate, cohort
from tests.strategies.references import sum_of_distances


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("size", [(3, 2), (5, 40), (8, 3), (10, 2000), (13, 1)])
def test_pulls_cancel_at_the_median(kind: str, place: str, size: tuple[int, int]) -> None:
    """Subgradient optimality: the unit pulls of the others sum to no more than one a met update."""
    updates_SP = cohort(kind, place, size, (size[0] - 1) // 2, seed=5)
    exact_SP = updates_SP.double().numpy()
    found_P = aggregate("geometric_median", updates_SP, (size[0] - 1) // 2).update_P.double().numpy()
    lengths_S = np.linalg.norm(exact_SP - found_P, axis=1)
    met_S = lengths_S < 1e-4 * np.median(lengths_S) + 1e-6 * np.linalg.norm(found_P)
    pull_P = ((exact_SP - found_P)[~met_S] / lengths_S[~met_S, None]).sum(0)
    assert np.linalg.norm(pull_P) <= met_S.sum() + 2e-3


def test_median_of_a_triangle_is_its_fermat_point() -> None:
    """Equilateral: the centre. With an angle of 120 degrees or more: that corner."""
    equilateral = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 0.75**0.5]])
    found_P = aggregate("geometric_median", equilateral, 1).update_P
    torch.testing.assert_close(found_P, equilateral.mean(0), rtol=1e-5, atol=1e-6)
    obtuse = torch.tensor([[-1.0, 0.1], [0.0, 0.0], [1.0, 0.1]])
    found_P = aggregate("geometric_median", obtuse, 1).update_P
    torch.testing.assert_close(found_P, torch.zeros(2), rtol=0, atol=1e-4)


def test_median_of_a_square_with_a_far_corner_is_where_the_diagonals_cross() -> None:
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1e4, 1e4]])
    found_P = aggregate("geometric_median", corners, 1).update_P
    torch.testing.assert_close(found_P, torch.tensor([0.5, 0.5]), rtol=0, atol=2e-3)


def test_small_updates_are_no_less_exact() -> None:
    """ByzFL smooths with an absolute floor of 0.1, which small updates never reach."""
    updates_SP = cohort("heterogeneous", "clustered", (9, 50), 2, seed=1)
    whole = aggregate("geometric_median", updates_SP, 2).update_P
    small = aggregate("geometric_median", updates_SP * 1e-6, 2).update_P
    torch.testing.assert_close(small * 1e6, whole, rtol=1e-4, atol=1e-5)


def test_mean_of_the_updates_is_not_the_median() -> None:
    """The control of the first test."""
    exact_SP = cohort("iid", "far", (9, 20), 2, seed=2).double().numpy()
    mean_P = exact_SP.mean(0)
    pull_P = ((exact_SP - mean_P) / np.linalg.norm(exact_SP - mean_P, axis=1)[:, None]).sum(0)
    assert np.linalg.norm(pull_P) > 0.5
    found_P = aggregate("geometric_median", torch.from_numpy(exact_SP).float(), 2).update_P.double().numpy()
    assert sum_of_distances(found_P, exact_SP) < 0.99 * sum_of_distances(mean_P, exact_SP)
