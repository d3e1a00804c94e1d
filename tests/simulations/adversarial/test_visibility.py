"""Structural similarity beside the formula in plain loops, and what it says of changes that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from simulations.adversarial.visibility import ssim

SIDE = 17


def images(seed: int) -> torch.Tensor:
    return torch.randint(0, 256, (2, SIDE, SIDE), generator=torch.Generator().manual_seed(seed)).float()


def in_loops(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Each window by itself: weights of distance, mirrored at the edge, moments about the window's own mean."""
    reach = range(-5, 6)
    weight = {(a, b): math.exp(-(a * a + b * b) / (2 * 1.5**2)) for a in reach for b in reach}
    whole = sum(weight.values())

    def mirrored(place: int) -> int:
        place = -place - 1 if place < 0 else place
        return 2 * SIDE - place - 1 if place >= SIDE else place

    values = []
    for row in range(SIDE):
        for column in range(SIDE):
            window = [
                (
                    w / whole,
                    one[mirrored(row + a), mirrored(column + b)],
                    other[mirrored(row + a), mirrored(column + b)],
                )
                for (a, b), w in weight.items()
            ]
            x, y = sum(w * p for w, p, _ in window), sum(w * q for w, _, q in window)
            xx = sum(w * (p - x) ** 2 for w, p, _ in window)
            yy = sum(w * (q - y) ** 2 for w, _, q in window)
            xy = sum(w * (p - x) * (q - y) for w, p, q in window)
            c1, c2 = 2.55**2, 7.65**2
            values.append((2 * x * y + c1) * (2 * xy + c2) / ((x * x + y * y + c1) * (xx + yy + c2)))
    return float(np.mean(values))


def test_similarity_equals_the_formula_in_loops() -> None:
    before = images(0)
    after = (before + 20 * torch.randn(before.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 255)
    expected = np.mean([in_loops(a.double().numpy(), b.double().numpy()) for a, b in zip(before, after, strict=True)])
    assert ssim(before, after) == pytest.approx(float(expected), abs=1e-9)


def test_similarity_is_one_of_the_same_image_and_falls_with_the_change() -> None:
    before, noise = images(2), torch.randn(2, SIDE, SIDE, generator=torch.Generator().manual_seed(3))
    found = [ssim(before, before + size * noise) for size in (0.0, 4.0, 16.0, 64.0)]
    assert found[0] == 1.0
    assert found == sorted(found, reverse=True)
    assert len(set(found)) == 4
