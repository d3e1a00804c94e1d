"""Epsilon between two bounds, by numerical convolution of the privacy loss: the audit's own accountant.

It shares nothing with dp-accounting, nor with opacus: the privacy loss of one release is put on a grid once rounded up
and once rounded down, and convolved with itself by a Fourier transform (Koskela, Jaelkoe and Honkela, AISTATS 2020,
arXiv 1906.03049; Gopi, Lee and Wutschitz, NeurIPS 2021, arXiv 2106.02848). What the grid, the cut tails, the wrapped
ends and the rounding of the transform can do is bounded and added where it would state too little, so that the true
epsilon of the stated law lies between the two.

Law of one release, add or remove one patient, noise multiplier s, sampling probability q: N(0, s^2) against the mixture
(1-q) N(0, s^2) + q N(1, s^2), in both directions; the larger counts. L(x) = log(1 - q + q exp((2x - 1) / (2 s^2))) is
increasing in x, so the tail of L is a tail of x.

1. Grid. A loss in (l - h, l] is stated as l in the upper bound and as l - h in the lower.
2. Tails of one release. Above the grid: infinite in the upper bound, its top in the lower. Below it: its bottom in the
   upper bound; left out in the lower.
3. Wrapping. A circular convolution carries what lies above the window to its bottom. By Chernoff's bound no more than
   w = exp(T log M(t) - t top) does: added to the mass at infinity of the upper bound. In the lower bound what lies
   below the window may come in at the top: as much, by the same bound, is taken off delta.
4. Rounding of the transform: at most `_UNIT` for each of T powers and log2 N stages, over the N values' mean size;
added
   to delta, or taken off it.

Shapes: N cells of the window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from common.errors import ConfigError
from common.privacy.events import SampledGaussian

GRID_ERROR = 8e-3
"""By which rounding all releases' losses up, or down, moves epsilon at most."""
_TAIL = 1e-13
"""Probability of one run's losses that may lie outside of the grid of one release, or of the window."""
_MOST_CELLS = 2**24
_UNIT = 8 * np.finfo(np.float64).eps

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class EpsilonBounds:
    """Where the true epsilon lies.

    Attributes:
        low: It is no less.
        high: It is no more.
    """

    low: float
    high: float


def epsilon_bounds(event: SampledGaussian, *, delta: float) -> EpsilonBounds:
    """Bounds of epsilon at `delta` of all the event's releases together.

    Raises:
        ConfigError: The event needs a grid that is too fine for this machine, or has next to no noise.
    """
    if not event.steps or not event.sampling_probability:
        return EpsilonBounds(0.0, 0.0)
    both = [_bounds(event, delta, removed=removed) for removed in (True, False)]
    return EpsilonBounds(max(one.low for one in both), max(one.high for one in both))


def _bounds(event: SampledGaussian, delta: float, *, removed: bool) -> EpsilonBounds:
    cell = GRID_ERROR / event.steps
    low, high = _range(event, removed=removed)
    first, last = math.floor(low / cell), math.ceil(high / cell)
    if last - first > _MOST_CELLS:
        raise ConfigError(
            f"an event of {event.steps} steps at noise multiplier {event.noise_multiplier:g} needs a grid of "
            f"{last - first:,} cells, beyond {_MOST_CELLS:,}; audit fewer rounds, or more noise"
        )
    edges = cell * np.arange(first, last + 1, dtype=np.float64)
    above = _tail(edges, event, removed=removed)
    mass = np.maximum(above[:-1] - above[1:], 0.0)
    upper = _Grid(cell, first + 1, mass.copy())
    upper.mass[0] += 1 - above[0]
    lower = _Grid(cell, first, mass)
    lower.mass[-1] += above[-1]
    infinite = -math.expm1(event.steps * math.log1p(-above[-1]))
    composed_up, slack_up = upper.composed(event.steps)
    composed_down, slack_down = lower.composed(event.steps)
    return EpsilonBounds(
        low=composed_down.epsilon(delta + slack_down), high=composed_up.epsilon(delta - infinite - slack_up)
    )


def _tail(losses: Floats, event: SampledGaussian, *, removed: bool) -> Floats:
    """P(L > l) of one release, under the law that has the loss's numerator."""
    s, q = event.noise_multiplier, event.sampling_probability
    if removed:
        x = _where(losses, s, q)
        return np.asarray((1 - q) * ndtr(-x / s) + q * ndtr((1 - x) / s), dtype=np.float64)
    return np.asarray(ndtr(_where(-losses, s, q) / s), dtype=np.float64)


def _where(losses: Floats, s: float, q: float) -> Floats:
    """X at which the mixture's loss is l; minus infinity where it is always larger."""
    # log((exp(l) - 1 + q) / q), in the form that neither overflows nor cancels on its side of zero.
    below, above = np.minimum(losses, 0.0), np.maximum(losses, 0.0)
    with np.errstate(divide="ignore"):
        of_below = np.log(np.maximum((np.expm1(below) + q) / q, 0.0))
        of_above = above + np.log1p(-(1 - q) * np.exp(-above)) - math.log(q)
    found: Floats = s**2 * np.where(losses > 0, of_above, of_below) + 0.5
    return found


def _range(event: SampledGaussian, *, removed: bool) -> tuple[float, float]:
    """Losses of one release between which all but `_TAIL` of a run's lie."""
    s, q = event.noise_multiplier, event.sampling_probability
    reach = s * math.sqrt(2 * math.log(2 * event.steps / _TAIL))
    low, high = (-reach, 1 + reach)
    with np.errstate(divide="ignore"):
        losses = [float(np.logaddexp(np.log1p(-q), math.log(q) + (2 * x - 1) / (2 * s**2))) for x in (low, high)]
    return (losses[0], losses[1]) if removed else (-losses[1], -losses[0])


@dataclass(frozen=True)
class _Grid:
    """A discrete law of losses.

    Attributes:
        cell: Of the grid.
        first: The first loss, in cells.
        mass: Of each loss from there, `[N]`.
    """

    cell: float
    first: int
    mass: Floats

    @property
    def losses(self) -> Floats:
        """Of each mass, `[N]`."""
        return self.cell * (self.first + np.arange(len(self.mass), dtype=np.float64))

    def composed(self, times: int) -> tuple[_Grid, float]:
        """The law of the sum of so many, and by how much of its mass it may be wrong."""
        mean = float(self.losses @ self.mass) / float(self.mass.sum())
        bottom, top = self._window(times)
        size = 2 ** math.ceil(math.log2(max(top - bottom, len(self.mass))))
        if size > _MOST_CELLS:
            raise ConfigError(f"a privacy loss over {size:,} cells is beyond {_MOST_CELLS:,}; audit fewer rounds")
        # The window is centred; every single loss is counted from the mean, so that the phase stays small.
        centre = round(mean / self.cell)
        placed = np.zeros(size)
        np.add.at(placed, (self.first - centre + np.arange(len(self.mass))) % size, self.mass)
        power = np.fft.rfft(placed) ** times
        circular = np.fft.irfft(power, size)
        start = bottom - times * centre
        mass = np.roll(circular, -(start % size))
        rounding = _UNIT * times * math.log2(size) * float(np.abs(power).mean()) * size
        return _Grid(self.cell, bottom, np.maximum(mass, 0.0)), 2 * _TAIL + rounding

    def _window(self, times: int) -> tuple[int, int]:
        """First and last cell of the sum, between which all but `_TAIL` at each end lie, by Chernoff's bound."""
        losses, mass = self.losses, self.mass
        deviation = math.sqrt(max(float(losses**2 @ mass) - float(losses @ mass) ** 2, self.cell**2))
        budget = math.log(_TAIL)
        reach = math.inf, -math.inf
        for tilt in np.geomspace(0.25, 16, 10) / (deviation * math.sqrt(times)):
            top = (times * _log_moment(losses, mass, tilt) - budget) / tilt
            bottom = -(times * _log_moment(losses, mass, -tilt) - budget) / tilt
            reach = min(reach[0], top), max(reach[1], bottom)
        return math.floor(reach[1] / self.cell) - 1, math.ceil(reach[0] / self.cell) + 1

    def epsilon(self, delta: float) -> float:
        """Least epsilon at which the law's delta is at most this one; infinite where there is none."""
        if delta <= 0:
            return math.inf
        losses = self.losses
        positive = slice(int(np.searchsorted(losses, 0.0)), None)
        losses, mass = losses[positive], self.mass[positive]
        # delta(e) = sum over losses l > e of m (1 - exp(e - l)), from the end.
        above = np.cumsum(mass[::-1])[::-1]
        discounted = np.cumsum((mass * np.exp(-losses))[::-1])[::-1]
        deltas = above - np.exp(losses) * discounted
        if not len(losses) or deltas[0] <= delta:
            return 0.0
        place = int(np.searchsorted(-deltas, -delta, side="right"))
        # Between two losses: above - exp(e) discounted = delta, of the masses from the upper one on.
        place = min(max(place, 1), len(losses) - 1)
        within = (above[place] - delta) / discounted[place]
        return (
            float(min(max(math.log(within), losses[place - 1]), losses[place])) if within > 0 else float(losses[place])
        )


def _log_moment(losses: Floats, mass: Floats, tilt: float) -> float:
    """Log of the mean of exp(tilt L)."""
    exponents = tilt * losses
    most = float(exponents.max())
    return most + math.log(float(np.exp(exponents - most) @ mass))
