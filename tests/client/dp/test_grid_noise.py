"""Noise on a grid: what can come out does not depend on what went in, and what must not come out does not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from client.dp import grid_noise
from client.dp.discrete_gaussian import DEVIATION
from client.dp.grid_noise import draw_grid_noise, grid_spacing
from common.errors import CheckFailed, ConfigError
from common.privacy.keystream import Keystream

KEY = b"grid noise: a fixed key for all."
NEAR_SUMS = [0.0, 0.1, -1.0, 1 / 3]
FAR_SUMS = [0.1, -math.pi, 1000.0]


def noised(total: Tensor, *, standard_deviation: float = 1.5, key: bytes = KEY) -> Tensor:
    noise = draw_grid_noise(total.numel(), standard_deviation=standard_deviation, stream=Keystream(key))
    return noise.added_to(total)


# The floating-point attack


def naive(total: Tensor, *, standard_deviation: float) -> Tensor:
    """Broken on purpose: noise made and added in float32."""
    return total + standard_deviation * torch.randn(total.shape, generator=torch.Generator().manual_seed(0))


def share_on_the_grid(values: Tensor, standard_deviation: float) -> float:
    """Share of the values that are the float32 of a whole number of grid steps.

    Seen on values below 2^-9 deviations, where float32 is finer than the grid.
    """
    small = values.double().numpy()
    small = small[np.abs(small) < standard_deviation * 2**-9]
    if len(small) < 100:
        pytest.fail("too few small values to tell")
    spacing = grid_spacing(standard_deviation)
    return float(np.mean((np.rint(small / spacing) * spacing).astype(np.float32) == small))


@pytest.mark.parametrize("private_sum", NEAR_SUMS)
def test_noised_values_lie_on_one_grid_whatever_the_sum(private_sum: float) -> None:
    values = torch.full((200_000,), private_sum)
    assert share_on_the_grid(noised(values), 1.5) == 1


@pytest.mark.parametrize("private_sum", NEAR_SUMS)
def test_noise_in_floating_point_is_caught(private_sum: float) -> None:
    values = torch.full((200_000,), private_sum)
    assert share_on_the_grid(naive(values, standard_deviation=1.5), 1.5) < 0.9


@pytest.mark.parametrize("standard_deviation", [1e-6, 0.7, 2.0, 1e6])
def test_grid_follows_the_deviation_alone(standard_deviation: float) -> None:
    values = noised(torch.zeros(200_000), standard_deviation=standard_deviation)
    assert share_on_the_grid(values, standard_deviation) == 1
    assert standard_deviation < grid_spacing(standard_deviation) * DEVIATION < standard_deviation * 1.0001


# The sum


@pytest.mark.parametrize("private_sum", FAR_SUMS)
def test_noise_is_added_to_the_sum(private_sum: float) -> None:
    """The same key gives the same noise, whatever the sum; float32 rounds the result."""
    values = torch.full((70_000,), private_sum)
    difference = noised(values).double() - noised(torch.zeros(70_000)).double()
    assert torch.allclose(difference, values.double(), rtol=0, atol=2e-7 * (abs(private_sum) + 9))


def test_sum_is_rounded_to_the_nearest_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen without noise, on sums of a few steps; one that is cut off instead would be up to a whole step away."""
    monkeypatch.setattr(grid_noise, "discrete_gaussian", lambda count, _: np.zeros(count, dtype=np.int64))
    steps = torch.linspace(-5, 5, 1001, dtype=torch.float64)
    rounded = noised(steps * grid_spacing(1.5)).double() / grid_spacing(1.5)
    assert (rounded - steps).abs().max() < 0.50001


def test_noise_of_chunks_does_not_repeat() -> None:
    values = noised(torch.zeros(3 * 2**15)).view(3, -1)
    assert torch.corrcoef(values).fill_diagonal_(0).abs().max() < 6 / math.sqrt(2**15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(), (0,), (3, 2), (2, 0, 4)])
def test_noised_has_the_shape_in_float32(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    values = noised(torch.ones(shape, dtype=dtype))
    assert (values.shape, values.dtype) == (torch.Size(shape), torch.float32)


def test_noised_reads_a_view_in_its_own_order() -> None:
    view = torch.arange(12.0).view(3, 4).T
    assert torch.equal(noised(view), noised(view.contiguous()))


def test_noised_leaves_the_sum_untouched() -> None:
    total = torch.ones(5, dtype=torch.float64, requires_grad=True)
    assert not noised(total).requires_grad
    assert torch.equal(total.detach(), torch.ones(5, dtype=torch.float64))


def test_no_deviation_is_no_noise() -> None:
    total = torch.tensor([0.1, math.pi])
    assert torch.equal(noised(total, standard_deviation=0.0), total)


# What is refused


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2e9, -2e9])
@pytest.mark.parametrize("place", [0, 40_000, 69_999])
def test_a_sum_out_of_range_is_refused(value: float, place: int) -> None:
    total = torch.zeros(70_000)
    total[place] = value
    with pytest.raises(CheckFailed, match="not finite or out of range"):
        noised(total)


def test_the_largest_sum_does_not_overflow() -> None:
    """2^29 deviations are 2^61.75 steps; the noise cannot carry it over 2^63."""
    values = noised(torch.tensor([2.0**29, -(2.0**29)]).repeat(1000), standard_deviation=1.0)
    assert torch.allclose(values.abs(), torch.tensor(2.0**29))


def test_a_deviation_too_small_for_floats_is_refused() -> None:
    with pytest.raises(CheckFailed):
        noised(torch.ones(3), standard_deviation=5e-324)


@pytest.mark.parametrize("standard_deviation", [-1.0, math.nan, math.inf])
def test_a_deviation_that_is_none_is_refused(standard_deviation: float) -> None:
    with pytest.raises(ConfigError, match="standard deviation"):
        noised(torch.zeros(3), standard_deviation=standard_deviation)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_noised_on_an_accelerator_is_that_of_the_processor() -> None:
    total = torch.linspace(-1, 1, 50_000)
    on_device = noised(total.cuda())
    assert on_device.device.type == "cuda"
    assert torch.equal(on_device.cpu(), noised(total))


# Drawn before the sum is known


def test_noise_drawn_before_is_that_drawn_after() -> None:
    total = torch.linspace(-3, 3, 40_000, dtype=torch.float64)
    drawn = draw_grid_noise(40_000, standard_deviation=1.5, stream=Keystream(KEY))
    assert torch.equal(drawn.added_to(total), noised(total))


def test_drawn_noise_is_added_once() -> None:
    drawn = draw_grid_noise(3, standard_deviation=1.0, stream=Keystream(KEY))
    drawn.added_to(torch.zeros(3))
    with pytest.raises(CheckFailed, match="a second time"):
        drawn.added_to(torch.ones(3))


def test_noise_of_a_refused_sum_is_not_added_to_another() -> None:
    drawn = draw_grid_noise(3, standard_deviation=1.0, stream=Keystream(KEY))
    with pytest.raises(CheckFailed, match="not finite"):
        drawn.added_to(torch.tensor([0.0, math.nan, 0.0]))
    with pytest.raises(CheckFailed, match="a second time"):
        drawn.added_to(torch.zeros(3))


def test_noise_for_another_size_is_refused() -> None:
    with pytest.raises(CheckFailed, match="another size"):
        draw_grid_noise(3, standard_deviation=1.0, stream=Keystream(KEY)).added_to(torch.zeros(4))
