"""Noise on integer counts of patients: of what law, what it costs, and what of it is left in a sum over sites.

A release is some vectors of counts, in `UNITS` a patient, of which a patient moves each by `UNITS` at most in the L1
norm. *Discrete Laplace* noise is each site's own: V vectors cost V times one. *Discrete Gaussian* noise costs the root
of V, at a delta; it is wider for few vectors and narrower for many (at epsilon 1 and delta 1e-5 from seven on), and
where a run's sites share noise (`common/pair_noise/law.py`) no more than one site's of it is left in their sum.

Unit of privacy: the patient. Neighbouring relation: add or remove one patient.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from common.pair_noise.law import PairLaw
from common.pair_noise.peers import peers_of
from common.privacy.accountant import least_noise
from common.privacy.events import DiscreteLaplace, SampledGaussian
from common.privacy.mechanisms import DiscreteLaplaceMechanism
from common.privacy.release import Mechanism

UNITS = 512
"""Parts of a patient that a count is told in: a patient of two studies, one of them found, counts 256 of 512."""

_ALONE = PairLaw(peers=0, colluding=1, factor=1)


@dataclass(frozen=True, kw_only=True)
class LaplaceCountNoise:
    """Discrete Laplace noise of each site's own.

    Guarantee: (epsilon, 0), but for the delta that `common/privacy/mechanisms.py` states.

    Attributes:
        vectors: That a release holds.
        laplace: Noise for a sensitivity of `UNITS` of each vector, in the L1 norm.
    """

    vectors: int
    laplace: DiscreteLaplaceMechanism
    mechanism: ClassVar[Mechanism] = Mechanism.DISCRETE_LAPLACE
    is_shared: ClassVar[bool] = False

    @property
    def event(self) -> DiscreteLaplace:
        """What a site's release costs each of its patients."""
        return self.laplace.event(self.vectors)

    @property
    def event_alone(self) -> DiscreteLaplace:
        """The same, whoever colludes."""
        return self.event

    @property
    def variance(self) -> float:
        """Of the noise in one count of one site, in patients squared."""
        return self.laplace.variance / UNITS**2

    @property
    def variance_if_all_tell(self) -> float:
        """What a site's noise leaves in the sum over all sites, in patients squared."""
        return self.variance

    def variance_in_sum(self, site: str, *, among: Collection[str]) -> float:  # noqa: ARG002 - no other site matters
        """What a site's noise leaves in the sum over sites, in patients squared."""
        return self.variance

    def covariance(self, sites: Sequence[str]) -> NDArray[np.float64]:
        """Of the noise that sites put into one count, `[S, S]`, in patients squared."""
        return self.variance * np.eye(len(sites))


@dataclass(frozen=True, kw_only=True)
class GaussianCountNoise:
    """Discrete Gaussian noise, part of it shared with the site's peers.

    Guarantee: that of one Gaussian mechanism with `multiplier`, against the server and the law's colluders together.
    Sensitivity: all vectors together move by `UNITS` times the root of their number in the L2 norm, as each moves by at
        most `UNITS` in the L1 norm.

    Attributes:
        vectors: That a release holds.
        law: How much is shared; nothing where it knows no peers.
        multiplier: Noise multiplier that all of it is worth.
        cohort: The sites of the run; empty where nothing is shared.
    """

    vectors: int
    law: PairLaw
    multiplier: float
    cohort: frozenset[str]
    mechanism: ClassVar[Mechanism] = Mechanism.DISCRETE_GAUSSIAN

    @property
    def is_shared(self) -> bool:
        """Whether part of it is shared with other sites."""
        return self.law.peers > 0

    @property
    def event(self) -> SampledGaussian:
        """What a site's release costs each of its patients: all of them are counted."""
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
        return self.own_multiplier * UNITS * math.sqrt(self.vectors)

    @property
    def variance(self) -> float:
        """Of the noise in one count of one site, in patients squared; what replaces absent peers is no wider."""
        return self.variance_if_all_tell * (1 + self.law.factor**2 * self.law.peers)

    @property
    def variance_if_all_tell(self) -> float:
        """What a site's noise leaves in the sum over all sites: its own draw, in patients squared."""
        return (self.deviation / UNITS) ** 2

    def variance_in_sum(self, site: str, *, among: Collection[str]) -> float:
        """What a site's noise leaves in the sum over sites, at most, in patients squared.

        What is shared with a peer stays in the sum where the peer's counts are not in it.

        Args:
            site: One of `among`.
            among: The sites whose counts are added up.
        """
        peers = peers_of(site, self.cohort) if self.is_shared else ()
        left = sum(peer not in among for peer in peers)
        return self.variance_if_all_tell * (1 + self.law.factor**2 * left)

    def covariance(self, sites: Sequence[str]) -> NDArray[np.float64]:
        """Of the noise that sites put into one count, `[S, S]`, in patients squared: what peers share has two signs."""
        covariance = self.variance * np.eye(len(sites))
        for row, site in enumerate(sites):
            for peer in peers_of(site, self.cohort) if self.is_shared else ():
                if peer in sites:
                    covariance[row, sites.index(peer)] = -self.variance_if_all_tell * self.law.factor**2
        return covariance


CountNoise = LaplaceCountNoise | GaussianCountNoise


def laplace_noise(epsilon: float, *, vectors: int) -> LaplaceCountNoise:
    """Discrete Laplace noise of an epsilon.

    Raises:
        ConfigError: The noise would be too fine or too wide for its sampler.
    """
    mechanism = DiscreteLaplaceMechanism(noise_scale=vectors / epsilon, sensitivity=UNITS)
    return LaplaceCountNoise(vectors=vectors, laplace=mechanism)


def gaussian_noise(epsilon: float, delta: float, *, vectors: int) -> GaussianCountNoise:
    """Discrete Gaussian noise of an epsilon and delta, all of it a site's own."""
    multiplier = _multiplier(epsilon, delta)
    return GaussianCountNoise(vectors=vectors, law=_ALONE, multiplier=multiplier, cohort=frozenset())


def shared_noise(
    epsilon: float, delta: float, *, vectors: int, law: PairLaw, cohort: Collection[str]
) -> GaussianCountNoise:
    """Discrete Gaussian noise of an epsilon and delta that the sites of a cohort share."""
    multiplier = _multiplier(epsilon, delta)
    return GaussianCountNoise(vectors=vectors, law=law, multiplier=multiplier, cohort=frozenset(cohort))


@lru_cache(maxsize=64)
def _multiplier(epsilon: float, delta: float) -> float:
    return least_noise(
        lambda noise: [SampledGaussian(noise_multiplier=noise, sampling_probability=1.0, steps=1)],
        epsilon=epsilon,
        delta=delta,
    )
