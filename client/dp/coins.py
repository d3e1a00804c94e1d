"""Random integers and orders from fair coins: all that a source of samples gives (`client/dp/randomness.py`)."""

from __future__ import annotations

import torch
from torch import Tensor

from client.dp.randomness import Randomness

_COINS = 62
"""Fair coins that make a random integer: two of n equal ones have probability below n^2 / 2^63."""


def random_order(number: int, randomness: Randomness) -> Tensor:
    """A uniformly random order of 0..number-1: fair coins make random integers, and those are sorted."""
    return torch.argsort(_integers(number, randomness))


def random_below(bound_N: Tensor, randomness: Randomness) -> Tensor:
    """Independent integers, each from 0 to below its bound `[N]`, uniform up to a factor within 1 +- bound / 2^62."""
    return _integers(len(bound_N), randomness) % bound_N


def _integers(number: int, randomness: Randomness) -> Tensor:
    """Independent integers below 2^62, uniform, `[number]`."""
    coins = randomness.participants(number * _COINS, 0.5).view(number, _COINS)
    return (coins.long() << torch.arange(_COINS)).sum(dim=1)
