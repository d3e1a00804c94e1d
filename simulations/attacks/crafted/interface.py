"""What a crafted update is made from. The attackers know everything: all honest updates, and the server's bound.

All attackers of a round send the same vector: they collude, and a rule that looks for outliers finds a cluster.

Shapes: H honest sites, P parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

BELOW_BOUND = 0.99
"""Share of the greatest norm that an attacker uses, so that rounding never takes it over the bound."""


@dataclass(frozen=True, kw_only=True)
class View:
    """What the attackers of a round know beside the honest updates.

    Attributes:
        num_sites: n, attackers included.
        num_attackers: f.
        max_norm: Greatest Euclidean norm that admission lets pass.
        round_number: From 1.
        generator: Source of every random choice; attackers of one round hold generators of one seed.
    """

    num_sites: int
    num_attackers: int
    max_norm: float
    round_number: int
    generator: torch.Generator


Craft: TypeAlias = Callable[[Tensor, View], Tensor]
"""From the honest updates `[H, P]`, H at least 1, in the order of the sites' names, to what each attacker sends `[P]`.

Of the type of the updates, finite where they are, no longer than `max_norm` allows, and a function of its arguments.
"""


def shortened(update_P: Tensor, *, max_norm: float) -> Tensor:
    """The update, or its direction at just below the greatest norm where it is longer."""
    norm = float(update_P.double().norm())
    longest = BELOW_BOUND * max_norm
    return update_P * (longest / norm) if norm > longest else update_P
