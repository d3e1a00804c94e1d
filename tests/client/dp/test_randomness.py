"""Sampling and noise from the operating system never repeat; from a seed they do."""

from __future__ import annotations

import secrets

import pytest
import torch
from torch import Tensor

from client.dp.randomness import Randomness, SeededRandomness, SystemRandomness

NUM_CALLS = 250_000
"""With 32 bits of entropy a call, 7.3 repeats are expected: none is seen once in 1,400 runs."""


class SmallEntropy(SeededRandomness):
    """Broken on purpose: torch's CPU generator keeps 32 bits of the seed."""

    def __init__(self) -> None:
        super().__init__(torch.Generator())

    def standard_normal(self, shape: torch.Size) -> Tensor:
        """See `Randomness`."""
        self._generator.manual_seed(secrets.randbits(63))
        return super().standard_normal(shape)


def repeats(randomness: Randomness) -> int:
    shape = torch.Size([4])
    seen = {randomness.standard_normal(shape).numpy().tobytes() for _ in range(NUM_CALLS)}
    return NUM_CALLS - len(seen)


def test_system_randomness_never_repeats() -> None:
    assert repeats(SystemRandomness()) == 0


def test_thirty_two_bits_of_entropy_are_caught() -> None:
    assert repeats(SmallEntropy()) > 0


def test_system_randomness_samples_anew_each_time() -> None:
    one, other = SystemRandomness(), SystemRandomness()
    draws = [tuple(source.participants(200, 0.5).tolist()) for source in (one, one, other)]
    assert len(set(draws)) == 3


@pytest.mark.parametrize("shape", [(), (0,), (3, 2)])
def test_system_randomness_shape_and_type(shape: tuple[int, ...]) -> None:
    noise = SystemRandomness().standard_normal(torch.Size(shape))
    assert (noise.shape, noise.dtype) == (torch.Size(shape), torch.float32)


@pytest.mark.parametrize("source", [SystemRandomness(), SeededRandomness(torch.Generator())])
def test_probability_zero_and_one_are_exact(source: Randomness) -> None:
    assert not source.participants(1000, 0.0).any()
    assert source.participants(1000, 1.0).all()


def test_seeded_randomness_repeats() -> None:
    first, second = (SeededRandomness(torch.Generator().manual_seed(3)) for _ in range(2))
    for _ in range(2):
        assert torch.equal(first.participants(50, 0.4), second.participants(50, 0.4))
        assert torch.equal(first.standard_normal(torch.Size([5])), second.standard_normal(torch.Size([5])))
    assert not torch.equal(first.standard_normal(torch.Size([5])), first.standard_normal(torch.Size([5])))
