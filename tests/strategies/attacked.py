"""Attacked cohorts: every crafted attack at many strengths against honest updates of several kinds, and kappa.

Kappa: `||result - mean(G)||^2` over `mean over G of ||x - mean(G)||^2`, for the honest set G or any other set of S - f
(Allouah et al., AISTATS 2023, Definition 2).

Shapes: S sites, H honest ones, P values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from simulations.attacks.crafted.interface import View
from simulations.attacks.crafted.registry import CRAFTED
from tests.strategies.cohorts import honest_updates

STRENGTHS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 15.0)
"""By how much an attack's way from the honest mean is stretched; 1 is the paper's own strength.

Gaussian: its length in root mean squared distances of the honest updates from their mean. Mimic has no strength: each
honest site is mimicked in turn.
"""


@dataclass(frozen=True)
class Attacked:
    """One cohort.

    Attributes:
        label: Attack and strength.
        updates_SP: Honest updates, then the bad ones.
        num_honest: H.
    """

    label: str
    updates_SP: Tensor
    num_honest: int


def attacked_cohorts(kind: str, size: tuple[int, int], num_byzantine: int, *, seed: int) -> Iterator[Attacked]:
    """All attacks at all strengths on the honest updates of one seed; the size is S and P."""
    num_honest = size[0] - num_byzantine
    honest_HP = honest_updates(kind, num_honest, size[1], torch.Generator().manual_seed(seed))
    mean_P = honest_HP.mean(0)
    spread = float((honest_HP - mean_P).square().sum(1).mean().sqrt())

    def cohort_of(label: str, bad_P: Tensor) -> Attacked:
        bad_FP = bad_P.expand(num_byzantine, -1)
        return Attacked(label, torch.cat([honest_HP, bad_FP]), num_honest)

    def view(max_norm: float) -> View:
        generator = torch.Generator().manual_seed(seed + 1)
        return View(
            num_sites=size[0], num_attackers=num_byzantine, max_norm=max_norm, round_number=1, generator=generator
        )

    for name in CRAFTED.names:
        craft = CRAFTED.load(name)
        if name == "mimic":
            yield cohort_of(name, craft(honest_HP, view(1e30)))
            yield from (cohort_of(f"{name} of {site}", honest_HP[site]) for site in range(num_honest))
            continue
        for strength in STRENGTHS:
            way_P = craft(honest_HP, view(spread)) if name == "gaussian" else craft(honest_HP, view(1e30)) - mean_P
            yield cohort_of(f"{name} x{strength:g}", mean_P + strength * way_P)


def kappa_about(result_P: Tensor, good_HP: Tensor) -> float:
    """Empirical kappa of a result about a set of updates."""
    good_HP = good_HP.double()
    mean_P = good_HP.mean(0)
    off = (result_P.double() - mean_P).square().sum()
    return float(off / (good_HP - mean_P).square().sum(1).mean())


def kappa_about_any(result_P: Tensor, updates_SP: Tensor, num_byzantine: int) -> float:
    """The greatest over all sets of S - f."""
    sets = combinations(range(len(updates_SP)), len(updates_SP) - num_byzantine)
    return max(kappa_about(result_P, updates_SP[list(chosen)]) for chosen in sets)
