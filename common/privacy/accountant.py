"""Epsilon of privacy events by privacy loss distributions, and the noise that a target epsilon needs.

Guarantee: a composition of the events is (epsilon, delta)-differentially private, also where each event sees what the
earlier ones released, as long as their parameters do not follow from it. Unit of privacy: the patient. Neighbouring
relation: add or remove one patient, or replace one, as asked.

Method: PLD with the pessimistic "connect the dots" grid (Doroshenko et al., arXiv 2207.04380) as dp-accounting
implements it. Each kind of event has a pair of distributions that dominates it:

* `SampledGaussian`, add or remove: N(0, s^2) against (1-q) N(0, s^2) + q N(1, s^2), both ways, which is tight (Zhu et
  al., arXiv 2106.08567). Replace: the two mixtures with means 1 and -1 (Lebeda et al., arXiv 2405.20769).
* `TruncatedSampledGaussian`: let T be the sampled patients other than the one that is added, removed or replaced, and w
  the probability that T already fills the step, |T| >= `most_sampled`. If it does not, nothing is cut and the pair is
  that of `SampledGaussian`. If it does, our patient, who is sampled with probability q or less, takes the place of one
  other: the same pair at twice the sensitivity. The mixture of both with weight w dominates by joint convexity of the
  divergence. w and the mixture grow with the number of patients, so that the upper end of a band covers all of it.
  dp-accounting's own `TruncatedSubsampledGaussianDpEvent` lowers q as the number grows: right at the true number, which
  is not public, and too small an epsilon for every number below the stated one.
* `DiscreteLaplace`, add or remove: two points of losses +a and -a, a = 1 / `noise_scale`: exact at sensitivity 1, and
  the pair that dominates every a-differentially private mechanism (Kairouz et al., arXiv 1311.0776), so those of every
  other sensitivity. Replace: discrete Laplace shifted by 2. Its divergence is linear in e^epsilon between the losses
  -2a, 0 and 2a, where that of every larger sensitivity is the same, and a divergence is convex in e^epsilon.

Edge cases: no events give epsilon 0; a release without noise gives infinity, and so does one with noise below a
thousandth of the sensitivity; one that samples nobody costs nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import lru_cache
from typing import Any, TypeAlias

import dp_accounting
from dp_accounting.pld import privacy_loss_distribution as pld
from scipy.stats import binom

from common.errors import ConfigError
from common.privacy.events import DiscreteLaplace, Event, SampledGaussian, TruncatedSampledGaussian

LEAST_NOISE, MOST_NOISE = 0.3, 1e4
"""Noise multipliers searched. Below the least one epsilon is in the tens or hundreds."""

_NO_NOISE = 1e-3
"""Noise over the sensitivity below which epsilon is in the hundreds of thousands and stated as infinite."""

_ROUND_OFF = 1e-13
"""Held back from delta for the rounding of Fourier transforms, at most 2e-14 against closed forms at 2,000 steps."""

_CELLS_PER_DEVIATION = 50
"""Grid cells in a standard deviation of one release's loss: the grid then adds about 4e-5 of epsilon."""

_MOST_CELLS = 2**16
"""Grid cells of one release, at most: a coarser grid is quicker and states more. Binds below a probability of 1e-3."""

_Parts: TypeAlias = tuple[tuple[Event, int], ...]
"""Events of one release each, and how many there are of each; sorted."""


class Relation(StrEnum):
    """What makes two sets of patients neighbours."""

    ADD_OR_REMOVE_ONE = "add_or_remove_one"
    """One patient is in only one of them: the relation of every epsilon, unless another is named."""
    REPLACE_ONE = "replace_one"
    """One patient's studies are another's: the stricter one, of about twice the epsilon or more."""


def epsilon_of(events: Iterable[Event], *, delta: float, relation: Relation = Relation.ADD_OR_REMOVE_ONE) -> float:
    """Epsilon at `delta` of all the events together, never below the true one, in any order of the events.

    Infinite where a release has no noise, or delta is at most 1e-13.
    """
    return _epsilon(_parts(events), delta, relation)


def least_noise(events_of: Callable[[float], Sequence[Event]], *, epsilon: float, delta: float) -> float:
    """The least noise, within 0.1%, at which the events that it makes spend at most `epsilon` together.

    Never below `LEAST_NOISE`, even where that spends less than asked for; 0 where the events need no noise at all.

    Args:
        events_of: The events of a run, as a function of the noise over the sensitivity of those to be calibrated. It
            may hold others beside them: released counts, or what earlier runs spent.
        epsilon: Target for adding or removing one patient.
        delta: Of that epsilon.

    Raises:
        ConfigError: No noise up to `MOST_NOISE` reaches the target.
    """

    def keeps(noise: float) -> bool:
        return epsilon_of(events_of(noise), delta=delta) <= epsilon

    if keeps(0.0):
        return 0.0
    enough = 1.0
    while not keeps(enough):
        if enough == MOST_NOISE:
            raise ConfigError(
                f"privacy.epsilon={epsilon} at privacy.delta={delta} cannot be reached with any noise: "
                "raise epsilon, or lower federation.rounds or training.sampling_probability"
            )
        enough = min(2 * enough, MOST_NOISE)
    too_little = enough
    while keeps(too_little):
        if too_little == LEAST_NOISE:
            return LEAST_NOISE
        enough, too_little = too_little, max(too_little / 2, LEAST_NOISE)
    while enough > 1.001 * too_little:
        middle = math.sqrt(enough * too_little)
        enough, too_little = (middle, too_little) if keeps(middle) else (enough, middle)
    return enough


@lru_cache(maxsize=256)
def noise_multiplier_for(*, epsilon: float, delta: float, sampling_probability: float, steps: int) -> float:
    """The least noise multiplier whose `steps` sampled Gaussian releases spend at most `epsilon`: see `least_noise`.

    Raises:
        ConfigError: No noise multiplier up to `MOST_NOISE` reaches the target.
    """

    def training(noise: float) -> list[Event]:
        return [SampledGaussian(noise_multiplier=noise, sampling_probability=sampling_probability, steps=steps)]

    return least_noise(training, epsilon=epsilon, delta=delta)


def truncation_for(*, most_patients: int, sampling_probability: float, overflow: float) -> int:
    """The least size of which a Poisson sample of `most_patients` is larger with probability at most `overflow`.

    Exact: the binomial tail, no bound of it.
    """

    def overflows(size: int) -> bool:
        return bool(binom.sf(size, most_patients, sampling_probability) > overflow)

    low, high = -1, most_patients
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if overflows(middle) else (low, middle)
    return high


def _parts(events: Iterable[Event]) -> _Parts:
    counts: Counter[Event] = Counter()
    for event in events:
        match event:
            case DiscreteLaplace(releases=count):
                counts[replace(event, releases=1)] += count
            case SampledGaussian(steps=count) | TruncatedSampledGaussian(steps=count):
                if event.sampling_probability > 0:
                    counts[replace(event, steps=1)] += count
    return tuple(sorted(((event, count) for event, count in counts.items() if count), key=repr))


@lru_cache(maxsize=1024)
def _epsilon(parts: _Parts, delta: float, relation: Relation) -> float:
    if not parts:
        return 0.0
    if any(_noise(event) < _NO_NOISE for event, _ in parts):
        return math.inf
    cell = _cell(parts)
    first, *others = (_loss(event, relation, cell).self_compose(count) for event, count in parts)
    for other in others:
        first = first.compose(other)
    return min(
        float(first.get_epsilon_for_delta(max(delta - _ROUND_OFF, 0.0))), _epsilon_without_delta(parts, relation)
    )


def _epsilon_without_delta(parts: _Parts, relation: Relation) -> float:
    """The sum of the single epsilons: less than PLD's where there are few integers and no Gaussian."""
    if not all(isinstance(event, DiscreteLaplace) for event, _ in parts):
        return math.inf
    return sum(count / _noise(event) for event, count in parts) * _shift(relation)


def _shift(relation: Relation) -> int:
    return 1 if relation is Relation.ADD_OR_REMOVE_ONE else 2


def _noise(event: Event) -> float:
    return event.noise_scale if isinstance(event, DiscreteLaplace) else event.noise_multiplier


def _cell(parts: _Parts) -> float:
    """The grid's cell, a power of two: the root mean square of the releases' deviations, divided.

    A wider cell adds variance, about cell^2 / 12 a release: what counts is that it is little beside the whole.
    """
    variance = sum(count * _variance(event) for event, count in parts) / sum(count for _, count in parts)
    widest = max(20 / _noise(event) + 1 / _noise(event) ** 2 for event, _ in parts)
    return 2.0 ** math.floor(math.log2(max(math.sqrt(variance) / _CELLS_PER_DEVIATION, widest / _MOST_CELLS)))


def _variance(event: Event) -> float:
    """Roughly, of one release's privacy loss: the chi-squared divergence, and at most that of an unsampled release."""
    inverse = 1 / _noise(event) ** 2
    if isinstance(event, DiscreteLaplace):
        return inverse
    return min(event.sampling_probability**2 * math.expm1(min(inverse, 50)), inverse)


@lru_cache(maxsize=64)
def _loss(event: Event, relation: Relation, cell: float) -> Any:  # noqa: ANN401 - dp-accounting has no types
    """The privacy loss distribution of one release, on a grid of losses, rounded so that it states too much."""
    match event:
        case DiscreteLaplace():
            return pld.from_discrete_laplace_mechanism(
                1 / event.noise_scale,
                sensitivity=_shift(relation),
                value_discretization_interval=cell,
                use_connect_dots=True,
            )
        case SampledGaussian():
            return _gaussian(event, sensitivity=1, relation=relation, cell=cell)
        case TruncatedSampledGaussian():
            others = max(event.most_patients - 1, 0)
            filled = float(binom.sf(event.most_sampled - 1, others, event.sampling_probability))
            crowded = _gaussian(event, sensitivity=2, relation=relation, cell=cell)
            return crowded.compute_mixture(_gaussian(event, sensitivity=1, relation=relation, cell=cell), filled)


def _gaussian(
    event: SampledGaussian | TruncatedSampledGaussian, *, sensitivity: float, relation: Relation, cell: float
) -> Any:  # noqa: ANN401 - dp-accounting has no types
    return pld.from_gaussian_mechanism(
        event.noise_multiplier,
        sensitivity=sensitivity,
        value_discretization_interval=cell,
        sampling_prob=event.sampling_probability,
        neighboring_relation=dp_accounting.NeighboringRelation[relation.name],
    )
