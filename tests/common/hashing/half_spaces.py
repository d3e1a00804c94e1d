"""A code whose smoothed form is known without a vote: each bit says on which side of a plane an input lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm
from torch import Tensor

from common.hashing.certificate import Ballot


@dataclass(frozen=True, eq=False)
class HalfSpaces:
    """Bits j of an input x at the origin: `margins[j] + planes[j] . x >= 0`, all 1 at the start; noise has deviation 1.

    Attributes:
        margins: `[K]`, above 0.
        planes: Unit normals, `[K, D]`.
    """

    margins: NDArray[np.float64]
    planes: NDArray[np.float64]

    @classmethod
    def drawn(cls, num_bits: int, dimensions: int, *, seed: int) -> HalfSpaces:
        """Random planes; as many dimensions as bits makes them orthogonal, so that their noise is independent."""
        source = np.random.default_rng(seed)
        planes = np.eye(num_bits) if dimensions == num_bits else source.standard_normal((num_bits, dimensions))
        planes /= np.linalg.norm(planes, axis=1, keepdims=True)
        return cls(np.abs(source.standard_normal(num_bits)), planes)

    @classmethod
    def copies(cls, num_bits: int, margin: float) -> HalfSpaces:
        """One plane, told by every bit: all flip at once."""
        return cls(np.full(num_bits, margin), np.tile([[1.0, 0.0]], (num_bits, 1)))

    def soft(self, inputs: Tensor) -> Tensor:
        """Values `[B, K]` whose signs are the bits."""
        return torch.from_numpy(self.margins) + inputs.double() @ torch.from_numpy(self.planes).T

    def ballot(self, num_votes: int, *, seed: int) -> Ballot:
        """Votes at the origin."""
        noise = np.random.default_rng(seed).standard_normal((num_votes, self.planes.shape[1]))
        return Ballot.of(noise @ self.planes.T >= -self.margins, deviation=1.0)

    def shares_against(self, change: NDArray[np.float64]) -> NDArray[np.float64]:
        """Exact share of the votes for 0 after a change `[..., D]`, `[..., K]`."""
        shares: NDArray[np.float64] = norm.cdf(-(self.margins + change @ self.planes.T))
        return shares

    def flips(self, code: NDArray[np.bool_], changes: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which bits of a code the true majority contradicts after each change, `[..., K]`."""
        against = self.shares_against(changes)
        return np.where(code, against, 1 - against) >= 0.5

    def worst_changes(self, radius: float) -> NDArray[np.float64]:
        """For each k the least change that flips the k bits of smallest margin, where the radius allows, `[M, D]`."""
        found = [np.zeros(self.planes.shape[1])]
        for k in range(1, len(self.margins) + 1):
            easiest = np.argsort(self.margins)[:k]
            change = np.linalg.lstsq(self.planes[easiest], -self.margins[easiest] * (1 + 1e-9), rcond=None)[0]
            if np.linalg.norm(change) <= radius:
                found.append(change)
        return np.array(found)
