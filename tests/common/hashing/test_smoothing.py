"""Smoothed codes: the majority of noisy copies, repeatable from the seed; and how far an attack moves a code."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from common.hashing.codes import binarise, unpack
from common.hashing.sensitivity import attacked, local_sensitivity
from common.hashing.smoothing import Smoothing
from tests.common.hashing.half_spaces import HalfSpaces


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_smoothed_codes_are_the_known_shares() -> None:
    spaces = HalfSpaces.drawn(48, 48, seed=0)
    smoothing = Smoothing(deviation=1.0, num_votes=4000)
    smoothed = smoothing.smoothed(spaces.soft, torch.zeros(2, 48), generator=generator())
    expected = 1 - 2 * spaces.shares_against(np.zeros(48))
    # Six standard errors of a share of 4,000 votes, doubled: 96 figures, a false alarm once in five million.
    np.testing.assert_allclose(smoothed.numpy(), np.stack([expected, expected]), atol=6 / 4000**0.5)
    assert (unpack(binarise(smoothed)) == 1).mean() > 0.9


def test_smoothing_repeats_from_its_seed_and_not_from_another() -> None:
    spaces = HalfSpaces.drawn(48, 16, seed=1)
    smoothing = Smoothing(deviation=0.5, num_votes=300)

    def once(seed: int) -> torch.Tensor:
        return smoothing.smoothed(spaces.soft, torch.zeros(1, 16), generator=generator(seed))

    assert torch.equal(once(3), once(3))
    assert not torch.equal(once(3), once(4))


def test_whole_number_pixels_are_smoothed_as_real_ones() -> None:
    smoothing = Smoothing(deviation=5.0, num_votes=64)
    pixels = torch.full((1, 48), 10, dtype=torch.uint8)
    smoothed = smoothing.smoothed(lambda x: x - 10.0, pixels, generator=generator())
    assert smoothed.abs().max() < 0.8  # noise cut to whole numbers, or lost, would leave all votes for 1


@pytest.mark.parametrize("radius", [0.3, 1.0])
def test_the_attack_comes_near_the_worst_change_and_not_beyond_it(radius: float) -> None:
    spaces = HalfSpaces.drawn(64, 64, seed=2)
    start = torch.zeros(3, 64, dtype=torch.float64)
    changed = attacked(spaces.soft, start, radius=radius, steps=40, generator=generator())
    assert bool(((changed - start).norm(dim=1) <= radius * (1 + 1e-6)).all())
    worst = len(spaces.worst_changes(radius)) - 1
    flips = (spaces.soft(changed) < 0).sum(dim=1)
    assert bool((flips <= worst).all())
    assert bool((flips >= 0.6 * worst).all())
    found = local_sensitivity(spaces.soft, start, radius=radius, steps=40, generator=generator())
    torch.testing.assert_close(found, flips / radius)
