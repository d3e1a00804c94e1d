"""Counts with discrete Laplace noise: integers in, integers out.

Guarantee: each value is released with epsilon-differential privacy, epsilon = 1 / `noise_scale` (Ghosh, Roughgarden
    and Sundararajan, STOC 2009, arXiv 0811.2841); `event` is what several cost. The law sampled is within a statistical
    distance of 2^-58 of discrete Laplace: n values that together spend epsilon add n (1 + exp(epsilon)) 2^-58 to delta.
Unit of privacy, neighbouring relation: those of `sensitivity`.
Sensitivity: one patient moves each value by at most `sensitivity`, an integer.
Edge cases: no values give no values. A value may come out negative; rounding it up to 0 is post-processing.

The noise takes the integer x with probability proportional to exp(-|x| / t), t = `noise_scale` times the sensitivity.
It is the difference of two geometric variables of ratio exp(-1 / t), whose binary digits are independent: digit i is 1
with probability 1 / (1 + exp(2^i / t)) (Dwork et al., EUROCRYPT 2006, doi:10.1007/11761679_29, draw their noise by it).
So each digit is one comparison of a 64-bit integer with a threshold. No float holds noise, and no time or number of
draws depends on it, which attacks on rejection samplers read (Jin et al., S&P 2022, arXiv 2112.05307).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, localcontext

import numpy as np
import numpy.typing as npt

from common.errors import ConfigError
from common.privacy.events import DiscreteLaplace
from common.privacy.keystream import Keystream

_WORD = 2**64
_LEAST = 0.1
"""Least noise over the sensitivity. Beyond epsilon 10 a value, what the sampled law leaves out would count."""
_MOST = 2.0**20
"""Largest scale of the noise. A digit more for each doubling would cost the 2^-58."""


@dataclass(frozen=True, kw_only=True)
class DiscreteLaplaceMechanism:
    """Noise and event of released counts, in one object so that they cannot drift apart.

    Attributes:
        noise_scale: Scale of the noise over the sensitivity.
        sensitivity: Most that one patient moves a value; a positive integer.
        stream: Opens a source of noise for each call; only a test gives another than fresh entropy.

    Raises:
        ConfigError: The scale or the sensitivity is too small, or both together are too large.
    """

    noise_scale: float
    sensitivity: int
    stream: Callable[[], Keystream] = Keystream.fresh

    def __post_init__(self) -> None:
        if not (self.noise_scale >= _LEAST and self.sensitivity >= 1 and self.noise_scale * self.sensitivity <= _MOST):
            raise ConfigError(
                f"discrete Laplace noise of scale {self.noise_scale} for a sensitivity of {self.sensitivity}: "
                f"they must be at least {_LEAST} and 1, and their product at most {_MOST:.0f}"
            )

    @property
    def variance(self) -> float:
        """Of the noise in a value: twice that of a geometric variable."""
        ratio = math.exp(-1 / (self.noise_scale * self.sensitivity))
        return 2 * ratio / (1 - ratio) ** 2

    def event(self, releases: int) -> DiscreteLaplace:
        """The privacy event of as many released values, each of which a patient may move.

        A vector whose values a patient moves by `sensitivity` altogether counts as one: the losses of its values add up
        to no more than that of one value that moves so far.
        """
        return DiscreteLaplace(noise_scale=self.noise_scale, releases=releases)

    def noised(self, values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The values, of any shape, each with noise of its own."""
        stream, thresholds = self.stream(), geometric_digits(self.noise_scale, self.sensitivity)
        noise = _geometric(values.size, thresholds, stream) - _geometric(values.size, thresholds, stream)
        noised: npt.NDArray[np.int64] = values + noise.reshape(values.shape)
        return noised


def geometric_digits(noise_scale: float, sensitivity: int) -> list[int]:
    """Probability that each binary digit of a geometric variable is 1, in units of 2^-64, rounded down; least first."""
    thresholds: list[int] = []
    with localcontext(prec=60):
        scale = Decimal(noise_scale) * sensitivity
        while threshold := int(_WORD / (1 + (2 ** len(thresholds) / scale).exp())):
            thresholds.append(threshold)
    return thresholds


def _geometric(count: int, thresholds: list[int], stream: Keystream) -> npt.NDArray[np.int64]:
    values = np.zeros(count, dtype=np.int64)
    for digit, threshold in enumerate(thresholds):
        values += (stream.uint64(count) < threshold).astype(np.int64) << digit
    return values
