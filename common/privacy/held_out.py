"""The noise of what sites tell of their held-out patients. It follows from the config alone: both sides know it.

What the counts are, and why a patient moves them by no more: `client/measurement/noised_statistics.py`.

Discrete Laplace noise is each site's own. Where a run's sites share noise (`common/pair_noise/law.py`) the counts can
have discrete Gaussian noise too, of which no more than one site's is left in their sum. A release of it needs 1.3 to
1.9 times the deviation of Laplace noise, and a site's own figures more; from five or six sites on the sum needs less.
So a run has the one whose noise in the sum over all sites is the smaller: the sum says whether the run helped.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from common.config.schema import RunConfig
from common.pair_noise.law import PairLaw
from common.pair_noise.peers import peers_of
from common.privacy.accountant import least_noise
from common.privacy.events import DiscreteLaplace, SampledGaussian
from common.privacy.mechanisms import DiscreteLaplaceMechanism
from common.privacy.plan import delta_of, pair_law
from common.privacy.release import Mechanism

FIGURES = 2
"""Vectors of counts in the one release of a run, of which a patient moves each by at most `UNITS` altogether."""

UNITS = 8
"""Parts of a patient that a count is told in: a patient of three studies, one of them found, counts 2 of 8."""


@dataclass(frozen=True, kw_only=True)
class OwnCountNoise:
    """Discrete Laplace noise of each site's own.

    Guarantee: (epsilon, 0), but for the delta that `common/privacy/mechanisms.py` states.

    Attributes:
        laplace: Noise for a sensitivity of `UNITS` of each vector, in the L1 norm.
    """

    laplace: DiscreteLaplaceMechanism
    mechanism: ClassVar[Mechanism] = Mechanism.DISCRETE_LAPLACE

    @property
    def event(self) -> DiscreteLaplace:
        """What a site's release costs each of its held-out patients."""
        return self.laplace.event(FIGURES)

    @property
    def event_alone(self) -> DiscreteLaplace:
        """The same, whoever colludes."""
        return self.event

    @property
    def variance(self) -> float:
        """Of the noise in one count of one site, in patients squared."""
        return self.laplace.variance / UNITS**2

    def variance_in_sum(self, site: str, *, among: Collection[str]) -> float:  # noqa: ARG002 - no other site matters
        """Of what a site's noise leaves in the sum over sites, in patients squared."""
        return self.variance


@dataclass(frozen=True, kw_only=True)
class SharedCountNoise:
    """Discrete Gaussian noise, part of it shared with the site's peers.

    Guarantee: that of one Gaussian mechanism with `multiplier`, against the server and the law's colluders together.
    Sensitivity: both vectors together move by `UNITS` times the root of `FIGURES` in the L2 norm, as each moves by at
        most `UNITS` in the L1 norm.

    Attributes:
        law: How much is shared.
        multiplier: Noise multiplier that all of it is worth.
        cohort: The sites of the run.
    """

    law: PairLaw
    multiplier: float
    cohort: frozenset[str]
    mechanism: ClassVar[Mechanism] = Mechanism.DISCRETE_GAUSSIAN

    @property
    def event(self) -> SampledGaussian:
        """What a site's release costs each of its held-out patients: all of them are counted."""
        return SampledGaussian(noise_multiplier=self.multiplier, sampling_probability=1.0, steps=1)

    @property
    def event_alone(self) -> SampledGaussian:
        """The same if everybody that noise is shared with told the server what they know."""
        return SampledGaussian(noise_multiplier=self.own_multiplier, sampling_probability=1.0, steps=1)

    @property
    def own_multiplier(self) -> float:
        """Multiplier of one draw of a site's own."""
        return self.law.own(self.multiplier)

    @property
    def deviation(self) -> float:
        """Of one draw, in units of a count."""
        return self.own_multiplier * UNITS * math.sqrt(FIGURES)

    @property
    def variance(self) -> float:
        """Of the noise in one count of one site, in patients squared; what replaces absent peers is no wider."""
        return self.variance_if_all_tell * (1 + self.law.factor**2 * self.law.peers)

    def variance_in_sum(self, site: str, *, among: Collection[str]) -> float:
        """Of what a site's noise leaves in the sum over sites, at most, in patients squared.

        What is shared with a peer stays in the sum where the peer's counts are not in it.

        Args:
            site: One of `among`.
            among: The sites whose counts are added up.
        """
        left = sum(peer not in among for peer in peers_of(site, self.cohort))
        return self.variance_if_all_tell * (1 + self.law.factor**2 * left)

    @property
    def variance_if_all_tell(self) -> float:
        """What a site's noise leaves in the sum over the whole cohort: its own draw, in patients squared."""
        return (self.deviation / UNITS) ** 2


CountNoise = OwnCountNoise | SharedCountNoise


def noise_of(config: RunConfig) -> CountNoise | None:
    """The noise that `evaluation.epsilon` needs; None where a run tells exact figures.

    Delta of shared noise is that of the training, at the site of the cohort that needs the smallest.
    """
    epsilon, law = config.evaluation.epsilon, pair_law(config)
    if epsilon is None:
        return None
    own = OwnCountNoise(laplace=DiscreteLaplaceMechanism(noise_scale=FIGURES / epsilon, sensitivity=UNITS))
    if law is None:
        return own
    cohort = config.privacy.cohort
    delta = min(delta_of(config, band) for band in cohort.values())
    shared = SharedCountNoise(law=law, multiplier=_multiplier(epsilon, delta), cohort=frozenset(cohort))
    return shared if shared.variance_if_all_tell < own.variance else own


@lru_cache(maxsize=64)
def _multiplier(epsilon: float, delta: float) -> float:
    return least_noise(
        lambda noise: [SampledGaussian(noise_multiplier=noise, sampling_probability=1.0, steps=1)],
        epsilon=epsilon,
        delta=delta,
    )
