"""The randomness that privacy rests on: which patients take part in a step, and the noise.

Both come from the operating system's entropy and never from a config seed: who can repeat the noise can subtract it,
and who knows which patients were sampled gets no amplification by subsampling. So a private run is repeatable only
in a test, which injects a source of its own.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor


class Randomness(Protocol):
    """Source of sampling and noise for one site."""

    def participants(self, num_patients: int, probability: float) -> Tensor:
        """Booleans `[num_patients]`: each patient independently with `probability` (Poisson sampling)."""
        ...

    def standard_normal(self, shape: torch.Size) -> Tensor:
        """Independent standard normal values."""
        ...


class SystemRandomness:
    """Fresh entropy of the operating system for every call, so that nothing repeats over steps, sites or restarts.

    NumPy's generator takes 128 bits of it. Torch's on the CPU would keep 32 bits of any seed: few enough to try
    them all and subtract the noise, and to repeat by chance after some ten thousand calls.
    """

    def participants(self, num_patients: int, probability: float) -> Tensor:
        """See `Randomness`."""
        return torch.from_numpy(np.random.default_rng().random(num_patients) < probability)

    def standard_normal(self, shape: torch.Size) -> Tensor:
        """See `Randomness`."""
        return torch.from_numpy(np.asarray(np.random.default_rng().standard_normal(shape, dtype=np.float32)))


class SeededRandomness:
    """Repeatable sampling and noise. It gives no privacy: for runs without privacy, and for tests."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def participants(self, num_patients: int, probability: float) -> Tensor:
        """See `Randomness`."""
        return torch.rand(num_patients, generator=self._generator, dtype=torch.float64) < probability

    def standard_normal(self, shape: torch.Size) -> Tensor:
        """See `Randomness`."""
        return torch.randn(shape, generator=self._generator)
