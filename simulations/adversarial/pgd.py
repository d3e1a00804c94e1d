"""Gradient steps on pixels, by the sign of the slope and from a random start, that reach the goal of an attack.

The steps are those that training may take too (`common/adversarial/ascent.py`). No pixel moves by more than epsilon,
none leaves black to white, and black background stays: what a reader would see at once is no attack.

Shapes: B images of H x W pixels, K bits.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from common.adversarial.ascent import WHITE, Greys, OutputsOf, body_of, moved, sign
from simulations.adversarial.interface import Goal


def perturbed(
    outputs_of: OutputsOf,
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
    drawn = 2 * torch.rand(start.shape, generator=generator).to(start) - 1
    return moved(
        outputs_of,
        start,
        goal.code_BK,
        partial(Greys, epsilon=epsilon, direction=sign),
        towards=goal.towards,
        steps=steps,
        beginning=(start + body_of(start) * epsilon * drawn).clamp(0, WHITE),
    )
