"""Whether one model finds more than another: each patient looked up by both, told as four counts that can be added up.

A patient's share of studies falls into four cells: found by both models, by the start alone, by the final one alone, by
neither. The cells of several hospitals add up, and so do the variances of the noise that was added to them; with no
noise the same figures are exact. Here nothing is private or made so: the counts come noised
(`client/measurement/noised_statistics.py`), and what follows is post-processing.

Intervals hold the sampling of patients and the noise together, at `CONFIDENCE`:

- a rate: Wilson's score interval (Wilson 1927, JASA 22, doi:10.1080/01621459.1927.10502953), the variance of the noise
  in its quadratic. Unlike a normal interval around the estimate it does not shrink to a point at 0 and 1.
- a difference: that of paired rates with half a patient added to each cell (Agresti and Min 2005, Statistics in
  Medicine 24, doi:10.1002/sim.1781), and the variance of the noise.

Both have their coverage measured by tests. Edge cases: without a patient there is no rate; noise that drowns the counts
gives the whole range.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from common.fairness.intervals import Interval

CONFIDENCE = 0.95
CELLS = ("both", "start_only", "final_only", "neither")
"""The cells of `Paired`, in the order in which counts are told."""
FOUND_NOW, FOUND_AT_START = ("both", "final_only"), ("both", "start_only")
"""The cells of what the final model finds, and of what the start does."""
_Z = float(ndtri((1 + CONFIDENCE) / 2))
_ADDED = 0.5
"""Patients added to each cell for the sampling variance of a difference."""


class Published(StrEnum):
    """Which model a run stands for."""

    START = "start"
    FINAL = "final"
    UNDECIDED = "undecided"


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure and its interval."""

    value: float
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class Paired:
    """Patients by what finds their studies; noise may make a cell negative.

    Attributes:
        both: Found by both models.
        start_only: By the start alone.
        final_only: By the final model alone.
        neither: By neither.
        noise_variance: Variance of the noise in each cell, in patients squared.
    """

    both: float
    start_only: float
    final_only: float
    neither: float
    noise_variance: float = 0.0

    @classmethod
    def sum_of(cls, parts: Sequence[Paired]) -> Paired:
        """The counts of several hospitals together."""
        return cls(
            both=sum(part.both for part in parts),
            start_only=sum(part.start_only for part in parts),
            final_only=sum(part.final_only for part in parts),
            neither=sum(part.neither for part in parts),
            noise_variance=sum(part.noise_variance for part in parts),
        )

    @property
    def num_patients(self) -> float:
        """All of them, as far as the counts say."""
        return self.both + self.start_only + self.final_only + self.neither

    @property
    def speaks(self) -> bool:
        """Whether the counts speak of anybody."""
        return self.num_patients >= 1

    def start(self) -> Estimate:
        """Share that the start finds.

        Raises:
            ValueError: They speak of nobody.
        """
        return self._rate(self.both + self.start_only)

    def final(self) -> Estimate:
        """Share that the final model finds.

        Raises:
            ValueError: They speak of nobody.
        """
        return self._rate(self.both + self.final_only)

    def difference(self) -> Estimate:
        """How much more the final model finds than the start.

        Raises:
            ValueError: They speak of nobody.
        """
        counts = np.array([getattr(self, cell) for cell in CELLS])
        return difference_of(counts, covariance=self.noise_variance * np.eye(len(CELLS)))

    def _rate(self, found: float) -> Estimate:
        num = self._checked()
        # Of the two cells above, and of the other two: V (2 (1 - p)^2 + 2 p^2) = V (2 - 4 p + 4 p^2).
        return rate_of(found / num, num_patients=num, noise=(2.0, -4.0, 4.0), variance=self.noise_variance)

    def _checked(self) -> float:
        if not self.speaks:
            raise ValueError("no patient is left under the noise")
        return self.num_patients


def rate_of(rate: float, *, num_patients: float, noise: tuple[float, float, float], variance: float) -> Estimate:
    """A rate with its score interval, cut to [0, 1].

    Args:
        rate: As it was counted.
        num_patients: Of how many, at least 1.
        noise: c0, c1, c2: the noise's variance in `rate * num_patients` is `variance * (c0 + c1 p + c2 p^2)` where the
            true rate is p.
        variance: Of the noise in one count.
    """
    sampling, drowned = _Z**2 / num_patients, _Z**2 * variance / num_patients**2
    c0, c1, c2 = (drowned * factor for factor in noise)
    # (rate - p)^2 <= z^2 (p (1 - p) / n + noise(p)), a quadratic in p.
    a, b, c = 1 + sampling - c2, -2 * rate - sampling - c1, rate**2 - c0
    inside = b * b - 4 * a * c
    if a <= 0 or inside < 0:
        return Estimate(value=_cut(rate), interval=Interval(0.0, 1.0))
    ends = [(-b + sign * math.sqrt(inside)) / (2 * a) for sign in (-1, 1)]
    value = _cut(rate)
    return Estimate(value=value, interval=Interval(min(_cut(ends[0]), value), max(_cut(ends[1]), value)))


def difference_of(counts: NDArray[np.float64], *, covariance: NDArray[np.float64]) -> Estimate:
    """How much more patients the final model finds than the start, over all of them.

    Args:
        counts: Of `CELLS`, in patients.
        covariance: Of their noise, `[4, 4]`, in patients squared.

    Raises:
        ValueError: They speak of nobody.
    """
    num = float(counts.sum())
    if num < 1:
        raise ValueError("no patient is left under the noise")
    sign = np.array([(cell == "final_only") - float(cell == "start_only") for cell in CELLS])
    value = _cut(float(sign @ counts) / num, low=-1.0)
    won, lost = (max(float(counts[CELLS.index(cell)]), 0.0) + _ADDED for cell in ("final_only", "start_only"))
    whole = num + 4 * _ADDED
    sampling = max((won + lost) / whole - ((won - lost) / whole) ** 2, 0.0) / whole
    # The noise of both cells, and of the four that make the divisor.
    slope = (sign - value) / num
    reach = _Z * math.sqrt(sampling + float(slope @ covariance @ slope))
    return Estimate(value=value, interval=Interval(max(value - reach, -1.0), min(value + reach, 1.0)))


def share_of(counts: NDArray[np.float64], which: NDArray[np.bool_], *, covariance: NDArray[np.float64]) -> Estimate:
    """The share that some of a group's counts have in all of them, with its score interval.

    Args:
        counts: `[C]`, in patients.
        which: Of which of them the share is asked, `[C]`.
        covariance: Of their noise, `[C, C]`, in patients squared.

    Raises:
        ValueError: They speak of nobody.
    """
    num = float(counts.sum())
    if num < 1:
        raise ValueError("no patient is left under the noise")
    some, every = which.astype(np.float64), np.ones(len(counts))
    noise = (
        float(some @ covariance @ some),
        -2 * float(some @ covariance @ every),
        float(every @ covariance @ every),
    )
    return rate_of(float(counts[which].sum()) / num, num_patients=num, noise=noise, variance=1.0)


def published(difference: Interval) -> Published:
    """Which model the interval of the difference speaks for: the final one where all of it is a gain."""
    if difference.low > 0:
        return Published.FINAL
    return Published.START if difference.high < 0 else Published.UNDECIDED


def _cut(value: float, *, low: float = 0.0) -> float:
    return min(max(value, low), 1.0)
