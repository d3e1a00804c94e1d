"""Centred clipping over rounds: its history is state, helps where it is near, and cannot hurt where it is far off."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.strategies.cohorts import cohort, composition
from tests.strategies.references import centered_clipping


@pytest.mark.parametrize("drift", [0.0, 0.3, 5.0])
def test_rounds_are_those_of_the_reference(drift: float) -> None:
    """The start is the last result or the median, whichever is nearer to most; drift decides which."""
    built = composition("centered_clipping", 2)
    state, history_P = built.init(), None
    for number in range(5):
        updates_SP = cohort("heterogeneous", "far", (9, 40), 2, seed=number) + drift * number
        found = built.aggregate(updates_SP, torch.ones(9), state)
        expected_P = centered_clipping(updates_SP.double().numpy(), 2, history_P=history_P)
        np.testing.assert_allclose(found.update_P, expected_P, rtol=0, atol=1e-4 * np.abs(expected_P).max())
        state, history_P = found.state, expected_P
        assert torch.equal(state["centre"], found.update_P)


@pytest.mark.parametrize("poison", [1e30, -3e38, 1e6])
def test_far_history_changes_nothing(poison: float) -> None:
    """An aggregate that attackers once moved far off is not where the next round starts."""
    built = composition("centered_clipping", 2)
    updates_SP = cohort("iid", "near", (9, 40), 2, seed=1)
    fresh = built.aggregate(updates_SP, torch.ones(9), built.init())
    poisoned = built.aggregate(updates_SP, torch.ones(9), built.init() | {"centre": torch.full((40,), poison)})
    torch.testing.assert_close(poisoned.update_P, fresh.update_P, rtol=1e-4, atol=1e-5)


def test_near_history_is_where_the_next_round_starts() -> None:
    """The control: a history in the middle of the honest updates changes the result."""
    built = composition("centered_clipping", 2)
    updates_SP = cohort("iid", "clustered", (9, 40), 2, seed=1)
    fresh = built.aggregate(updates_SP, torch.ones(9), built.init())
    helped = built.aggregate(updates_SP, torch.ones(9), built.init() | {"centre": updates_SP.mean(0)})
    assert (helped.update_P - fresh.update_P).abs().max() > 1e-3


def test_one_update_pulls_by_at_most_three_radii() -> None:
    """However far it goes: each step moves the centre by a mean of S moves of one radius."""
    built = composition("centered_clipping", 2)
    updates_SP = cohort("iid", "none", (9, 40), 0, seed=3)
    radius = float((updates_SP - updates_SP.median(dim=0).values).norm(dim=1).median())
    results = []
    for far in (10.0, 1e5, 1e20):
        moved_SP = updates_SP.clone()
        moved_SP[0] = far
        results.append(built.aggregate(moved_SP, torch.ones(9), built.init()).update_P)
    assert float((results[1] - results[2]).norm()) < 0.02 * radius
    assert float((results[0] - updates_SP[1:].mean(0)).norm()) < 3 * radius
