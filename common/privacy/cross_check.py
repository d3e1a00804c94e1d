"""The epsilon that is reported: PLD's, and only where a second, independent accountant agrees with it.

The second one is PRV (Gopi et al., arXiv 2106.02848) as Opacus implements it: other formulas, another discretisation,
another library. It knows Poisson-sampled Gaussians and adding or removing one patient only. So both accountants are
asked for that part of a composition, and compared. Left out, in both: discrete Laplace, releases that sample everyone,
noise below 0.2 (where PRV's exponentials overflow), the truncation of truncated samples, and replacing one patient.
The whole check is left out above epsilon 100 or 100,000 steps, where PRV overflows or its grid outgrows the memory.

It takes 0.3 seconds or so for a run, a few seconds where epsilon is below 0.05, and Opacus takes two to import: for the
end of a run and for audits, not for each round.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from common.errors import AccountingError
from common.privacy.accountant import Relation, epsilon_of
from common.privacy.events import DiscreteLaplace, Event, SampledGaussian

MOST_DIFFERENCE = 0.02
"""Of the two accountants, over PLD's epsilon."""

LEAST_EPSILON = 0.05
"""Below it the difference is taken over this instead: there 2% would be less than either accountant resolves."""

_LEAST_NOISE, _MOST_EPSILON, _MOST_STEPS = 0.2, 100.0, 100_000


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What a composition of events spent, vouched for by two accountants.

    Unit of privacy: the patient.

    Attributes:
        epsilon: For adding or removing one patient, by PLD: the figure of record.
        epsilon_replace_one: For replacing one patient by another, by PLD.
        epsilon_by_prv: Of the Poisson-sampled Gaussians alone, for adding or removing one patient, by PRV; None where
            there are none that PRV can compose.
        delta: At which all of them hold.
    """

    epsilon: float
    epsilon_replace_one: float
    epsilon_by_prv: float | None
    delta: float


def spent_by(events: Sequence[Event], *, delta: float) -> Spent:
    """What the events spent together; infinite where one of them has no noise.

    Raises:
        AccountingError: The accountants differ by more than `MOST_DIFFERENCE`, or PRV fails where it should not.
    """
    return Spent(
        epsilon=epsilon_of(events, delta=delta),
        epsilon_replace_one=epsilon_of(events, delta=delta, relation=Relation.REPLACE_ONE),
        epsilon_by_prv=_checked(events, delta),
        delta=delta,
    )


def _checked(events: Sequence[Event], delta: float) -> float | None:
    """PRV's epsilon of what it can compose, close to PLD's of the same."""
    shared = [
        SampledGaussian(
            noise_multiplier=event.noise_multiplier,
            sampling_probability=event.sampling_probability,
            steps=event.steps,
        )
        for event in events
        if not isinstance(event, DiscreteLaplace)
        and 0 < event.sampling_probability < 1
        and event.noise_multiplier >= _LEAST_NOISE
        and event.steps
    ]
    by_pld = epsilon_of(shared, delta=delta)
    if not shared or by_pld > _MOST_EPSILON or sum(event.steps for event in shared) > _MOST_STEPS:
        return None
    allowed = MOST_DIFFERENCE * max(by_pld, LEAST_EPSILON)
    steps: Counter[tuple[float, float]] = Counter()
    for event in shared:
        steps[event.noise_multiplier, event.sampling_probability] += event.steps
    by_prv = _by_prv(tuple((*kind, count) for kind, count in sorted(steps.items())), delta=delta, error=allowed / 4)
    if not abs(by_prv - by_pld) <= allowed:
        raise AccountingError(
            f"two accountants differ: epsilon {by_pld:.4f} by PLD and {by_prv:.4f} by PRV at delta {delta}; "
            "nothing is reported, please file an issue with the ledger's events"
        )
    return by_prv


@lru_cache(maxsize=64)
def _by_prv(history: tuple[tuple[float, float, int], ...], *, delta: float, error: float) -> float:
    """PRV's upper bound of steps of (noise multiplier, sampling probability, count).

    At most about `error` above its estimate. Where 0 is meant, PRV may go below it.
    """
    from opacus.accountants import PRVAccountant  # two seconds, which whoever only audits signatures need not wait

    accountant = PRVAccountant()
    accountant.history = list(history)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the Renyi orders by which PRV only sizes its grid
            found = float(accountant.get_epsilon(delta, eps_error=error, delta_error=delta / 1000))
    except (ArithmeticError, RuntimeError, ValueError) as problem:
        raise AccountingError(f"PRV cannot compose the sampled Gaussians of this run: {problem}") from problem
    return found if math.isnan(found) else max(found, 0.0)
