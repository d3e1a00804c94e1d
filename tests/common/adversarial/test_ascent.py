"""Steps against a code: they stay in their region, they flip bits, and no record reads another."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from common.adversarial.ascent import Ball, Greys, level, moved, sign

K, SIDE, FEATURES = 16, 6, 12


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pixels(number: int) -> Tensor:
    """Of a black border above, white below, and grey between."""
    found = (128 + 60 * drawn(number, SIDE, SIDE, seed=1)).clamp(1, 254)
    found[:, 0], found[:, -1] = 0.0, 255.0
    return found


FIRST, LAST = drawn(SIDE * SIDE, 24, seed=2), drawn(24, K, seed=3)


def outputs(seen: Tensor) -> Tensor:
    """A tower of two layers; of features it takes as many rows as there are."""
    flat = seen.flatten(1)
    return torch.tanh(flat @ FIRST[: flat.shape[1]] / (100 if seen.dim() == 3 else 3)) @ LAST


def flips(before: Tensor, after: Tensor) -> float:
    return float((outputs(before).sign() != outputs(after).sign()).float().sum(dim=1).mean())


@pytest.mark.parametrize("direction", [sign, level])
def test_greys_stay_near_within_black_and_white_and_leave_the_background(direction: object) -> None:
    start = pixels(5)
    region = partial(Greys, epsilon=8.0, direction=direction)
    changed = moved(outputs, start, torch.tanh(outputs(start)), region, towards=-1, steps=5)  # type: ignore[arg-type]
    assert float((changed - start).abs().max()) == pytest.approx(8.0, abs=0.1)
    assert 0 <= float(changed.min()) <= float(changed.max()) <= 255
    assert torch.equal(changed[:, 0], start[:, 0])
    by_chance = start + 8.0 * drawn(5, SIDE, SIDE, seed=7).sign()
    assert flips(start, changed) > 2 * flips(start, by_chance)


def test_ball_keeps_its_radius_and_features_come_to_a_code() -> None:
    start, goal = drawn(4, FEATURES), drawn(4, K, seed=5).sign()
    changed = moved(outputs, start, goal, partial(Ball, share=0.5), towards=1, steps=8)
    away = (changed - start).norm(dim=1) / start.norm(dim=1)
    assert float(away.max()) <= 0.5 * (1 + 1e-5)
    assert ((outputs(changed) * goal).sum(dim=1) > (outputs(start) * goal).sum(dim=1)).all()


def test_one_step_of_one_record_is_the_definition() -> None:
    """By hand: one backward pass, one step of 2.5 epsilon, cut to epsilon."""
    start = pixels(1)
    own = torch.tanh(outputs(start))
    point = start.clone().requires_grad_()
    (slope,) = torch.autograd.grad(-(torch.tanh(outputs(point)) * own).sum(), point)
    step = (20.0 * torch.tanh(slope / slope.abs().mean())).clamp(-8.0, 8.0) * (start > 0)
    found = moved(outputs, start, own, partial(Greys, epsilon=8.0, direction=level), towards=-1, steps=1)
    torch.testing.assert_close(found, (start + step).clamp(0, 255), rtol=0, atol=1e-3)


def test_another_record_leaves_a_record_bit_for_bit() -> None:
    start = pixels(6)
    other = start.clone()
    other[2] = 255 - other[2]
    region = partial(Greys, epsilon=8.0, direction=level)
    first, second = (
        moved(outputs, seen, torch.tanh(outputs(seen)), region, towards=-1, steps=5) for seen in (start, other)
    )
    kept = torch.arange(6) != 2
    assert torch.equal(first[kept], second[kept])
    assert not torch.equal(first[2], second[2])


def test_what_reads_the_batch_cannot_move_another_record() -> None:
    """A tower that couples records sees one alone; in one batched pass the same tower would not."""

    def coupled(seen: Tensor) -> Tensor:
        return outputs(seen) - outputs(seen).mean(dim=0, keepdim=True) / 2

    start = pixels(6)
    region = partial(Greys, epsilon=8.0, direction=level)
    own = torch.tanh(outputs(start))
    whole = moved(coupled, start, own, region, towards=-1, steps=3)
    part = moved(coupled, start[:3], own[:3], region, towards=-1, steps=3)
    torch.testing.assert_close(whole[:3], part, rtol=0, atol=1e-3)

    def batched_slopes(seen: Tensor, goal: Tensor) -> Tensor:
        point = seen.clone().requires_grad_()
        return torch.autograd.grad((torch.tanh(coupled(point)) * goal).sum(), point)[0]

    gap = (batched_slopes(start, own)[:3] - batched_slopes(start[:3], own[:3])).abs().max()
    assert float(gap) > 1e-3 * float(batched_slopes(start, own).abs().max())


@pytest.mark.parametrize(("direction", "most"), [(level, 0.05), (sign, float("inf"))])
def test_rounding_stays_rounding_where_there_is_no_cliff(direction: object, most: float) -> None:
    """Slopes near 0 with another last bit: the level rule moves by as little, the sign rule by whole steps."""
    plane, rounding = drawn(SIDE * SIDE, K, seed=2), drawn(SIDE * SIDE, K, seed=9)
    plane[::2] = 0.0  # pixels whose slope is rounding alone

    def shaken(size: float, seen: Tensor) -> Tensor:
        return (seen.flatten(1) - 128) @ (plane + size * rounding) / 500

    start, region = pixels(4), partial(Greys, epsilon=8.0, direction=direction)
    own = torch.tanh(shaken(0.0, start))
    first, second = (
        moved(partial(shaken, size), start, own, region, towards=-1, steps=5)  # type: ignore[arg-type]
        for size in (1e-6, -1e-6)
    )
    gap = float((first - second).abs().max())
    assert gap <= most
    if direction is sign:
        assert gap > 8


def test_a_record_that_is_not_finite_stays_alone() -> None:
    start = drawn(3, FEATURES)
    start[1] = float("nan")
    goal = drawn(3, K, seed=5)
    found = moved(outputs, start, goal, partial(Ball, share=0.1), towards=-1, steps=3)
    assert not found[1].isfinite().any()
    assert found[[0, 2]].isfinite().all()
