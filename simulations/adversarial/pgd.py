"""Projected gradient steps on pixels (Madry et al., ICLR 2018, arXiv 1706.06083) that reach the goal of an attack.

No pixel moves by more than epsilon, none leaves black to white, and black background stays: what a reader would see at
once is no attack.

Shapes: B images of H x W pixels, K bits.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from simulations.adversarial.interface import Goal

WHITE = 255.0


def perturbed(
    outputs_of: Callable[[Tensor], Tensor],
    pixels_BHW: Tensor,
    goal: Goal,
    *,
    epsilon: float,
    steps: int,
    generator: torch.Generator,
) -> Tensor:
    """Changed pixels `[B, H, W]`, float, of 0 to 255.

    Args:
        outputs_of: From pixels to the hash head's outputs `[B, K]`, differentiable; the attacker's own model in a
        gray box.
        pixels_BHW: The images, 0 to 255.
        goal: Where they are driven.
        epsilon: Most that a pixel moves, in grey levels.
        steps: Gradient steps, each of 2.5 epsilon / steps.
        generator: Of the random start, on the CPU.
    """
    start = pixels_BHW.to(torch.float32)
    body = (start > 0).to(start)
    drawn = 2 * torch.rand(start.shape, generator=generator).to(start) - 1
    changed = (start + body * epsilon * drawn).clamp(0, WHITE)
    for _ in range(steps):
        changed.requires_grad_()
        # tanh keeps a bit that is already far over from pulling all the way (HAG's surrogate of the Hamming distance).
        agreement = (torch.tanh(outputs_of(changed)) * goal.code_BK).sum()
        (slope,) = torch.autograd.grad(goal.towards * agreement, changed)
        moved = changed.detach() + body * (2.5 * epsilon / steps) * slope.sign()
        changed = torch.minimum(torch.maximum(moved, start - epsilon), start + epsilon).clamp(0, WHITE)
    return changed.detach()


def moved_share(before_BHW: Tensor, after_BHW: Tensor) -> float:
    """Share of the pixels that are not black whose grey value, rounded, is another."""
    body = before_BHW > 0
    moved = (after_BHW.round() != before_BHW.to(after_BHW)) & body
    return float(moved.sum() / body.sum().clamp(min=1))
