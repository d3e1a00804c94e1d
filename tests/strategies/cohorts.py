"""Cohorts for the tests: honest updates of several kinds, and bad ones in several places; and an aggregator by name.

Shapes: S sites, H honest ones, P values.
"""

from __future__ import annotations

import torch
from torch import Tensor

from common.config.schema import AggregatorConfig
from strategies.composition import Composition, build_aggregator
from strategies.interface import Aggregate

KINDS = ("iid", "heterogeneous", "low_rank")
PLACES = ("none", "near", "far", "clustered")


def composition(name: str, num_byzantine: int, *, seed: int = 0) -> Composition:
    """The aggregator of a config."""
    return build_aggregator(AggregatorConfig(name=name, num_byzantine=num_byzantine), seed=seed)


def aggregate(name: str, updates_SP: Tensor, num_byzantine: int) -> Aggregate:
    """One round with equal weights, from a fresh state."""
    built = composition(name, num_byzantine)
    return built.aggregate(updates_SP, torch.ones(len(updates_SP)), built.init())


def honest_updates(kind: str, num_honest: int, num_values: int, generator: torch.Generator) -> Tensor:
    """Honest updates `[H, P]`, float32.

    iid: standard normal. heterogeneous: a shared mean, a mean of
    each site, from half as long as its noise to one and a half times, and the noise. low_rank: three shared
    directions with normal coefficients, and a tenth of noise.
    """

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    if kind == "iid":
        found_HP = normal(num_honest, num_values)
    elif kind == "heterogeneous":
        scale_H1 = torch.linspace(0.5, 1.5, num_honest, dtype=torch.float64)[:, None]
        found_HP = normal(1, num_values) + scale_H1 * normal(num_honest, num_values) + normal(num_honest, num_values)
    else:
        found_HP = normal(num_honest, 3) @ normal(3, num_values) + 0.1 * normal(num_honest, num_values)
    return found_HP.float()


def cohort(kind: str, place: str, size: tuple[int, int], num_byzantine: int, *, seed: int) -> Tensor:
    """Honest updates and f bad ones `[S, P]` in a random order; the size is S and P."""
    num_sites, num_values = size
    generator = torch.Generator().manual_seed(seed)
    updates_SP = honest_updates(kind, num_sites, num_values, generator)
    if num_byzantine:
        bad = slice(0, num_byzantine)
        honest_HP = updates_SP[num_byzantine:]
        if place == "near":
            updates_SP[bad] = honest_HP.mean(0) + 0.5 * updates_SP[bad]
        elif place == "far":
            updates_SP[bad] *= 300
        elif place == "clustered":
            updates_SP[bad] = honest_HP.mean(0) - 2 * honest_HP.std(0, correction=0) + 0.01 * updates_SP[bad]
    return updates_SP[torch.randperm(num_sites, generator=generator)]
