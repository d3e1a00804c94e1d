"""Sources of sampling and noise that an attacker would run production's training with: never a hospital's own.

`Everybody` is what an attacker knows who knows that a patient was drawn; `Nobody` is what is public of a step; with
`Noiseless` the attacker trains on studies of its own, who needs no noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from client.dp.grid_noise import OWN_ALONE, GridNoise, NoiseParts
from client.dp.randomness import Noise, Randomness, SystemRandomness


@dataclass(frozen=True)
class Everybody:
    """Steps in which all take part, with the noise of another source.

    Attributes:
        noise_of: The source.
    """

    noise_of: Randomness

    def participants(self, num_patients: int, probability: float) -> Tensor:  # noqa: ARG002 - whatever it is
        """See `Randomness`."""
        return torch.ones(num_patients, dtype=torch.bool)

    def noise(self, num_values: int, *, standard_deviation: float, parts: NoiseParts = OWN_ALONE) -> Noise:
        """See `Randomness`."""
        return self.noise_of.noise(num_values, standard_deviation=standard_deviation, parts=parts)


class Noiseless:
    """Steps as a hospital draws them, without noise."""

    def participants(self, num_patients: int, probability: float) -> Tensor:
        """See `Randomness`."""
        return SystemRandomness().participants(num_patients, probability)

    def noise(
        self,
        num_values: int,  # noqa: ARG002 - there is none
        *,
        standard_deviation: float,  # noqa: ARG002 - there is none
        parts: NoiseParts = OWN_ALONE,  # noqa: ARG002 - there is none
    ) -> Noise:
        """See `Randomness`."""
        return GridNoise(None, 0.0)


class Nobody(Noiseless):
    """Steps without a patient and without noise."""

    def participants(self, num_patients: int, probability: float) -> Tensor:  # noqa: ARG002 - whatever it is
        """See `Randomness`."""
        return torch.zeros(num_patients, dtype=torch.bool)
