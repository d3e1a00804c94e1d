"""Smoothed codes: each bit by the majority of the codes of many noisy copies.

That is randomised smoothing (Cohen et al., ICML 2019, arXiv 1902.02918), bit by bit. The noise is Gaussian, public
and drawn from the config's seed: it hides nobody, it makes a code that a small change of the input moves little, and
that can be certified (`certificate.py`).

Shapes: B batch, N votes, K bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from common.hashing.certificate import Ballot

RelaxedOf: TypeAlias = Callable[[Tensor], Tensor]
"""From inputs `[B, ...]` of floating point to the hash head's outputs `[B, K]`, whose signs are the code."""

_COPIES_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class Smoothing:
    """How codes are smoothed.

    Attributes:
        deviation: Standard deviation of the noise, in units of the input; above 0.
        num_votes: Noisy copies a code is decided by.
    """

    deviation: float
    num_votes: int

    def smoothed(self, relaxed_of: RelaxedOf, inputs: Tensor, *, generator: torch.Generator) -> Tensor:
        """Smoothed relaxed codes `[B, K]` in [-1, 1]: twice the share of votes for 1, less one.

        Its sign is the majority, so `common.hashing.codes.binarise` packs it as any relaxed code; an even vote is a 1.

        Args:
            relaxed_of: The codes that are smoothed.
            inputs: `[B, ...]`.
            generator: Source of the noise, on the CPU.
        """
        return torch.stack(
            [2 * votes(relaxed_of, one, self, generator=generator).to(torch.float32).mean(dim=0) - 1 for one in inputs]
        )


def votes(relaxed_of: RelaxedOf, one: Tensor, smoothing: Smoothing, *, generator: torch.Generator) -> Tensor:
    """The codes of an input's noisy copies, `[N, K]` of bool, on the CPU.

    Args:
        relaxed_of: The codes that are smoothed.
        one: One input, `[...]`; whole numbers count as real ones.
        smoothing: Noise and number of copies.
        generator: Source of the noise, on the CPU.
    """
    real = one.to(torch.get_default_dtype())
    cast = []
    with torch.no_grad():
        for start in range(0, smoothing.num_votes, _COPIES_AT_ONCE):
            copies = min(_COPIES_AT_ONCE, smoothing.num_votes - start)
            noise = torch.randn(copies, *real.shape, generator=generator, dtype=real.dtype).to(real.device)
            cast.append((relaxed_of(real + smoothing.deviation * noise) >= 0).cpu())
    return torch.cat(cast)


def cast_ballot(relaxed_of: RelaxedOf, one: Tensor, smoothing: Smoothing, *, generator: torch.Generator) -> Ballot:
    """Vote on the code of one input `[...]`; one batch of noise serves every bit."""
    votes_NK = votes(relaxed_of, one, smoothing, generator=generator).numpy()
    return Ballot.of(votes_NK, deviation=smoothing.deviation)
