"""How far codes move when their inputs do: an attack that looks for flips, and the Lipschitz constant it tells.

In Hamming space a code's local Lipschitz constant at x is the greatest of d(h(x + delta), h(x)) / |delta| over
changes of norm r; a code is constant but for jumps, so r must be named. An attack finds changes, not the worst one:
what it tells is a lower bound, where a certificate (`certificate.py`) is an upper one.

Shapes: B batch, K bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

SoftOf: TypeAlias = Callable[[Tensor], Tensor]
"""From inputs `[B, ...]` to differentiable values `[B, K]` whose signs are the codes."""

_EDGE = 0.15
"""Width of the edge at which a bit counts as half flipped, at first, over the mean size of the input's values."""


def attacked(soft_of: SoftOf, inputs: Tensor, *, radius: float, steps: int, generator: torch.Generator) -> Tensor:
    """Changed inputs `[B, ...]`, each at most `radius` away (Euclidean), that flip as many bits as were found.

    Projected gradient ascent (Madry et al., ICLR 2018, arXiv 1706.06083) on a soft count of the flipped bits: those
    close to their sign's edge pull most, since all share one radius. The best point of the path is kept, by flips.

    Args:
        soft_of: What is attacked; of a smoothed code, the mean of relaxed codes over noise.
        inputs: `[B, ...]` of floating point.
        radius: Above 0.
        steps: Gradient steps.
        generator: Of the random start, on the CPU.
    """
    with torch.no_grad():
        soft_BK = soft_of(inputs)
        sign_BK = torch.where(soft_BK >= 0, 1.0, -1.0)
        edge_B1 = _EDGE * soft_BK.abs().mean(dim=1, keepdim=True).clamp(min=1e-12)
    change = _within(torch.randn(inputs.shape, generator=generator).to(inputs), radius) / 2
    best, most_B = inputs.clone(), torch.full((len(inputs),), -1, device=inputs.device)
    for step in range(steps + 1):
        change = change.detach().requires_grad_()
        pushed_BK = soft_of(inputs + change) * sign_BK
        flips_B = (pushed_BK.detach() < 0).sum(dim=1)
        better_B = flips_B > most_B
        best[better_B], most_B[better_B] = (inputs + change).detach()[better_B], flips_B[better_B]
        sharper = edge_B1 * (1 - 0.95 * step / max(steps, 1))
        (slope,) = torch.autograd.grad(torch.sigmoid(-pushed_BK / sharper).sum(), change)
        change = _within(change.detach() + _of_length(slope, 2.5 * radius / max(steps, 1)), radius)
    return best


def local_sensitivity(
    soft_of: SoftOf, inputs: Tensor, *, radius: float, steps: int, generator: torch.Generator
) -> Tensor:
    """Flips for each unit of change that an attack found at each input, `[B]`: a lower bound on the local constants.

    Args as `attacked`.
    """
    changed = attacked(soft_of, inputs, radius=radius, steps=steps, generator=generator)
    with torch.no_grad():
        flips_B = ((soft_of(changed) >= 0) != (soft_of(inputs) >= 0)).sum(dim=1)
    found_B: Tensor = flips_B / radius
    return found_B


def _norms(change: Tensor) -> Tensor:
    norm_B: Tensor = change.flatten(1).norm(dim=1).clamp(min=1e-12)
    return norm_B.view(-1, *[1] * (change.dim() - 1))


def _of_length(change: Tensor, length: float) -> Tensor:
    scaled: Tensor = change * (length / _norms(change))
    return scaled


def _within(change: Tensor, radius: float) -> Tensor:
    inside: Tensor = change * (radius / _norms(change)).clamp(max=1.0)
    return inside
