"""The randomness that privacy rests on: which patients take part in a step, and the noise.

Both come from the operating system's entropy and never from a config seed: who can repeat the noise can subtract it,
and who knows which patients were sampled gets no amplification by subsampling. So a private run is repeatable only
in a test, which injects a source of its own. Why and how: `common/decisions/0009-discrete-gaussian-noise.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import torch
from torch import Tensor

from client.dp.grid_noise import OWN_ALONE, NoiseParts, draw_grid_noise
from common.privacy.keystream import Keystream


class Noise(Protocol):
    """Noise on one private sum, drawn before the sum is known."""

    def added_to(self, total: Tensor) -> Tensor:
        """The total plus the noise, float32, on the total's device; once.

        Raises:
            CheckFailed: The total is not finite or of another size, or the noise was added before.
        """
        ...


class Randomness(Protocol):
    """Source of sampling and noise for one site."""

    def participants(self, num_patients: int, probability: float) -> Tensor:
        """Booleans `[num_patients]`: each patient independently with `probability` (Poisson sampling)."""
        ...

    def noise(self, num_values: int, *, standard_deviation: float, parts: NoiseParts = OWN_ALONE) -> Noise:
        """Independent Gaussian noise of a public deviation for a sum of so many values.

        Args:
            num_values: Of the private sum.
            standard_deviation: Of one part.
            parts: Of the noise; own ones come from this source, shared ones from theirs.

        Raises:
            ConfigError: The deviation is negative or not finite.
        """
        ...


class SystemRandomness:
    """Fresh entropy of the operating system for every call, so that nothing repeats over steps, sites or restarts.

    No state is kept between calls, so neither a forked process nor a restored machine can share a stream with another
    one, and nothing is there to be checkpointed.
    """

    def participants(self, num_patients: int, probability: float) -> Tensor:
        """See `Randomness`."""
        return poisson_sample(num_patients, probability, Keystream.fresh())

    def noise(self, num_values: int, *, standard_deviation: float, parts: NoiseParts = OWN_ALONE) -> Noise:
        """See `Randomness`."""
        return draw_grid_noise(num_values, standard_deviation=standard_deviation, stream=Keystream.fresh(), parts=parts)


class KeystreamRandomness:
    """The same sampler and noise from one key, in sequence. It gives no privacy: tests repeat a private run with it."""

    def __init__(self, key: bytes) -> None:
        self._stream = Keystream(key)

    def participants(self, num_patients: int, probability: float) -> Tensor:
        """See `Randomness`."""
        return poisson_sample(num_patients, probability, self._stream)

    def noise(self, num_values: int, *, standard_deviation: float, parts: NoiseParts = OWN_ALONE) -> Noise:
        """See `Randomness`."""
        return draw_grid_noise(num_values, standard_deviation=standard_deviation, stream=self._stream, parts=parts)


class SeededRandomness:
    """Repeatable sampling and own noise of torch's generator. No privacy: for runs without it, and for tests."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def participants(self, num_patients: int, probability: float) -> Tensor:
        """See `Randomness`."""
        return torch.rand(num_patients, generator=self._generator, dtype=torch.float64) < probability

    def noise(self, num_values: int, *, standard_deviation: float, parts: NoiseParts = OWN_ALONE) -> Noise:
        """See `Randomness`."""
        if parts != OWN_ALONE:
            raise ValueError("a generator's floats cannot be shared to the last bit; use a source of integers")
        return FloatNoise(standard_deviation * torch.randn(num_values, generator=self._generator))


@dataclass(frozen=True)
class FloatNoise:
    """Floats that are added as they are. No privacy.

    Attributes:
        values_P: One for each value of the sum, float32.
    """

    values_P: Tensor

    def added_to(self, total: Tensor) -> Tensor:
        """See `Noise`."""
        return total.detach().to(torch.float32) + self.values_P.view(total.shape).to(total.device)


def poisson_sample(num_patients: int, probability: float, stream: Keystream) -> Tensor:
    """Booleans `[num_patients]`, each true if a uniform 64-bit integer is below the probability times 2^64.

    The product is rounded down, so a patient joins with the stated probability or one that is smaller by less than
    2^-64: the error is on the side of privacy. 0 and 1 are exact.

    Raises:
        ValueError: The probability is not within 0 and 1.
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"a sampling probability of {probability}; it must be within 0 and 1")
    threshold = int(Fraction(probability) * 2**64)
    words = stream.uint64(num_patients)
    if threshold == 2**64:
        return torch.ones(num_patients, dtype=torch.bool)
    return torch.from_numpy(words < threshold)
