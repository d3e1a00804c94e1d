"""Why pair noise is in every local step: noise that is shared only once a round protects one step, not several.

Hide a site's message by masks that cancel, and let each of n members add a share sigma / sqrt(n) of the noise: the sum
has all of it, and one step is private. But a second local step reads a model that the first has moved with the site's
*own share* alone, and what it reads there it can say loudly: its clipped gradients follow the sign of one coordinate,
and a site's patients together are larger than all noise. One patient more or less in the first step is then plain in
the sum.

The figures: 2 steps, 100 members, one coordinate, sigma = 5, a site of 50 patients. The claim of two Gaussian
mechanisms is a total variation of 2 Phi(sqrt(2) / (2 sigma)) - 1 = .11.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from common.pair_noise.law import PairLaw

MEMBERS, STEPS, SIGMA, PATIENTS = 100, 2, 5.0, 50
TRIALS, ALPHA = 200_000, 1e-9
TOLERANCE = 2 * math.sqrt(math.log(2 / ALPHA) / (2 * TRIALS))
CLAIMED = 2 * norm.cdf(math.sqrt(STEPS) / (2 * SIGMA)) - 1

Rows = npt.NDArray[np.float64]


def loud(seen: Rows) -> Rows:
    """The sum of the second step's clipped gradients, each of norm 1: all follow what the first step told."""
    return PATIENTS * np.sign(seen - 0.5)


def variation(worlds: tuple[Rows, Rows]) -> float:
    """Total variation of the best threshold on a statistic: a lower bound of that of all that is seen."""
    grid = np.linspace(-3 * PATIENTS, 3 * PATIENTS, 4001)
    tails = [np.searchsorted(np.sort(one), grid) / len(one) for one in worlds]
    return float(np.abs(tails[0] - tails[1]).max())


def masked_sum(generator: np.random.Generator, *, patient: float) -> Rows:
    """What masks leave to see: the sum over all members, each with its share of the noise in each step."""
    share = SIGMA / math.sqrt(MEMBERS)
    own = share * generator.standard_normal((STEPS, TRIALS))
    others = share * math.sqrt(MEMBERS - 1) * generator.standard_normal((STEPS, TRIALS))
    first = patient + own[0]
    return first + loud(first) + own[1] + others.sum(axis=0)


def with_pair_noise(generator: np.random.Generator, *, patient: float) -> Rows:
    """The message of a site that shares noise in every step, less what the peers' own messages tell of it."""
    law = PairLaw(peers=12, colluding=1, factor=1)
    own, hidden = law.own(SIGMA), law.peers - law.colluding
    total = np.zeros(TRIALS)
    for step in range(STEPS):
        shared = own * generator.standard_normal((hidden, TRIALS))
        told = own * generator.standard_normal((hidden, TRIALS)) - shared
        gradient = np.full(TRIALS, patient) if step == 0 else loud(total)
        total += gradient + own * generator.standard_normal(TRIALS) + shared.sum(axis=0) + told.sum(axis=0) / 2
    return total


def test_one_share_of_the_noise_does_not_protect_two_steps() -> None:
    generator = np.random.default_rng(1)
    worlds = masked_sum(generator, patient=1.0), masked_sum(generator, patient=0.0)
    assert 0.11 < CLAIMED < 0.12
    assert variation(worlds) + TOLERANCE >= 0.68
    assert variation(worlds) - TOLERANCE > 5 * CLAIMED


def test_noise_that_is_shared_in_every_step_protects_two() -> None:
    generator = np.random.default_rng(2)
    worlds = with_pair_noise(generator, patient=1.0), with_pair_noise(generator, patient=0.0)
    assert variation(worlds) - TOLERANCE <= CLAIMED
