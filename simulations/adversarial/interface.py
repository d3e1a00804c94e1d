"""What an attack on codes aims at: a code that an image is driven away from, or towards.

An attack is a goal; how pixels are changed to reach it is the same for all (`pgd.py`).

Shapes: B images, R gallery, K bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from common.config.registry import Registry


@dataclass(frozen=True, kw_only=True, eq=False)
class Search:
    """The search that is attacked, as the attacker knows it.

    Attributes:
        own_BK: Outputs of the hash head for the images as they are.
        gallery_RK: The gallery's codes, +1 and -1.
        relevant_BR: Which items answer which image.
        wanted_BR: Items that a targeted attack wants to be found instead.
    """

    own_BK: Tensor
    gallery_RK: Tensor
    relevant_BR: Tensor
    wanted_BR: Tensor


@dataclass(frozen=True, eq=False)
class Goal:
    """Where images are driven.

    Attributes:
        code_BK: Codes, +1 and -1.
        towards: +1 to come to the code, -1 to leave it.
    """

    code_BK: Tensor
    towards: int


CodeAttack: TypeAlias = Callable[[Search], Goal]

CODE_ATTACKS: Registry[CodeAttack] = Registry(
    "attack",
    {
        "across": "simulations.adversarial.across:across",
        "hag": "simulations.adversarial.hag:hag",
        "centre": "simulations.adversarial.centre:centre",
        "dhta": "simulations.adversarial.dhta:dhta",
    },
)


def signs(value: Tensor) -> Tensor:
    """+1 where a value is 0 or more, -1 elsewhere, as codes are cut."""
    return torch.where(value >= 0, 1.0, -1.0)
