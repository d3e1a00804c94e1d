"""Gaussian noise on a private sum, added as integers on a public grid; drawn before, while the sum is computed.

Guarantee: that of the Gaussian mechanism with `standard_deviation`; `client/dp/discrete_gaussian.py` has the reduction.
Unit of privacy, neighbouring relation: the caller's; they come with the sensitivity.
Sensitivity: rounding to the grid moves two neighbouring sums apart by at most its spacing, 2^-32.75 deviations, times
    the root of the number of values: 4e-7 of the sensitivity times the noise multiplier for ten million values. The
    noise is wider by `_MARGIN` to make up for it, which is enough up to a noise multiplier of 140.
Edge cases: deviation 0 returns the total itself and gives no privacy. A total that is not finite, or beyond 2^29
    deviations, is refused and nothing of it is returned: clipping makes it impossible, so the fault is the program's.
    What is drawn is added to one total, and forgotten: a second one is refused, and so is one of another size.

Why integers. Noise that is made and added in floating point leaves traces of the sum in the low bits: which floats can
come out depends on what went in (Mironov, CCS 2012, doi:10.1145/2382196.2382264). Here the sum is rounded to integers,
the noise is an integer, and the addition is exact: within the range of the noise, what can come out of one sum can come
out of its neighbour too. The step back to floats reads that result alone, so it is post-processing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from client.dp.discrete_gaussian import DEVIATION, discrete_gaussian
from common.errors import CheckFailed, ConfigError
from common.privacy.keystream import Keystream

_MARGIN = 1 + 2**-14
_LARGEST = 2.0**62
"""Bound on a rounded total, in grid steps: noise below 2^37 a draw cannot carry it over the range of int64."""
_CHUNK = 1 << 15
"""Values noised at once, so that the intermediate arrays stay in the cache. Sites that share noise must agree on it."""


@dataclass(frozen=True, kw_only=True)
class SharedPart:
    """A draw of noise that one other site makes too.

    Attributes:
        factor: What it is multiplied by, a whole number; the other site's has the opposite sign.
        stream: Source of the draw; the other site has the same.
    """

    factor: int
    stream: Keystream


@dataclass(frozen=True, kw_only=True)
class NoiseParts:
    """The draws, each of one deviation, that the noise on a sum is made of.

    Attributes:
        num_own: Draws that nobody else knows.
        shared: Draws that other sites make too.
    """

    num_own: int = 1
    shared: tuple[SharedPart, ...] = ()


OWN_ALONE = NoiseParts()
"""Noise that is all the site's own."""


class GridNoise:
    """Noise that is drawn and not yet added.

    Args:
        steps_P: A draw for each value, in steps of the grid; None adds nothing.
        spacing: Of the grid.
    """

    def __init__(self, steps_P: npt.NDArray[np.int64] | None, spacing: float) -> None:
        self._steps_P = steps_P
        self._spacing = spacing
        self._added = False

    def added_to(self, total: Tensor) -> Tensor:
        """The total with the noise, float32, on the total's device.

        Args:
            total: The private sum, of any shape; float64 is not rounded before the noise is added.

        Raises:
            CheckFailed: The total is not finite or out of range, is of another size, or the noise was added before.
        """
        if self._added:
            raise CheckFailed("noise was to be added a second time: nothing of the step is released")
        self._added = True
        steps_P, self._steps_P = self._steps_P, None
        if steps_P is None:
            return total.detach().to(torch.float32)
        if len(steps_P) != total.numel():
            raise CheckFailed("noise was drawn for a sum of another size: nothing of the step is released")
        values = total.detach().to("cpu", torch.float64).flatten().numpy()
        noised = np.empty(len(values), dtype=np.float32)
        for start in range(0, len(values), _CHUNK):
            part = slice(start, start + _CHUNK)
            noised[part] = (_on_grid(values[part], self._spacing) + steps_P[part]) * self._spacing
        return torch.from_numpy(noised).view(total.shape).to(total.device)


def draw_grid_noise(
    num_values: int, *, standard_deviation: float, stream: Keystream, parts: NoiseParts = OWN_ALONE
) -> GridNoise:
    """Discrete Gaussian noise for a sum of so many values. It is made on the CPU, and lets other threads compute.

    Args:
        num_values: Of the sum, public.
        standard_deviation: Deviation of one draw of noise on each value; public.
        stream: Source of the own draws.
        parts: Draws that are added. Two sites' shared parts cancel exactly on totals of one size.

    Raises:
        ConfigError: The deviation is negative or not finite.
    """
    if not (math.isfinite(standard_deviation) and standard_deviation >= 0):
        raise ConfigError(f"the noise's standard deviation is {standard_deviation}; it must be a finite number >= 0")
    if standard_deviation == 0:
        return GridNoise(None, 0.0)
    steps_P = np.empty(num_values, dtype=np.int64)
    for start in range(0, num_values, _CHUNK):
        drawn = steps_P[start : start + _CHUNK]
        drawn[:] = 0
        for _ in range(parts.num_own):
            drawn += discrete_gaussian(len(drawn), stream)
        for part in parts.shared:
            drawn += part.factor * discrete_gaussian(len(drawn), part.stream)
    return GridNoise(steps_P, grid_spacing(standard_deviation))


def grid_spacing(standard_deviation: float) -> float:
    """Spacing of the grid; it depends on the public deviation alone."""
    return standard_deviation * _MARGIN / DEVIATION


def _on_grid(values: npt.NDArray[np.float64], spacing: float) -> npt.NDArray[np.int64]:
    with np.errstate(all="ignore"):  # What overflows or is not a number is refused below.
        steps = np.rint(values / spacing)
    # Written so that a comparison with what is not a number refuses too.
    if not np.abs(steps).max(initial=0.0) <= _LARGEST:
        raise CheckFailed("a clipped sum is not finite or out of range: nothing of the step is released")
    return steps.astype(np.int64)
