"""Low-rank adapters: a frozen linear map plus a trained change of small rank (Hu et al., LoRA, arXiv 2106.09685).

A private update is noised in every trained direction, so fewer of them carry less noise: Yu et al. (arXiv 2110.06500)
find adapters at or above full fine-tuning under privacy. The change starts at zero, so training starts from the given
model to the bit.

Written here and not taken from `peft`: it is forty lines, its two parts are plain linear maps that every gradient path
knows, and `peft` would bring `accelerate` and its own format of weights.

Shapes: B batch, I inputs, O outputs, K rank.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from common.errors import ConfigError

Adaptable = TypeVar("Adaptable", bound=nn.Module)


class LoraLinear(nn.Module):
    """`base(x) + up(down(x))`, the base frozen, `down` random and `up` zero at the start.

    Args:
        base: The map to adapt; it is frozen.
        rank: K.
        generator: Source of the start of `down`.
    """

    def __init__(self, base: nn.Linear, *, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        self.base = base.requires_grad_(requires_grad=False)
        self.down = nn.Linear(base.in_features, rank, bias=False)
        self.up = nn.Linear(rank, base.out_features, bias=False)
        nn.init.normal_(self.down.weight, std=base.in_features**-0.5, generator=generator)
        nn.init.zeros_(self.up.weight)

    def forward(self, entered: Tensor) -> Tensor:
        """Inputs `[B, ..., I]` to outputs `[B, ..., O]`."""
        kept: Tensor = self.base(entered)
        change: Tensor = self.up(self.down(entered))
        return kept + change


def adapted(module: Adaptable, *, rank: int, seed: int) -> Adaptable:
    """A frozen copy of a module whose linear maps all have a trained change.

    Args:
        module: With linear maps somewhere below it.
        rank: Rank of each change.
        seed: Of the start of the adapters.

    Raises:
        ConfigError: The rank is not below a map's width, so the change would not be of low rank.
    """
    copied = copy.deepcopy(module).requires_grad_(requires_grad=False)
    generator = torch.Generator().manual_seed(seed)
    for parent in list(copied.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                least = min(child.in_features, child.out_features)
                if rank >= least:
                    raise ConfigError(
                        f"encoder.lora_rank={rank}: the model has a linear map of width {least}; "
                        "give a rank below it, or train it whole with encoder.trainable=all"
                    )
                setattr(parent, name, LoraLinear(child, rank=rank, generator=generator))
    return copied
