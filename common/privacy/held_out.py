"""The noise of what sites tell of their held-out patients. It follows from the config alone: both sides know it.

There are two releases, at the end of a run. One says whether the run helped
(`client/measurement/noised_statistics.py`); it costs `evaluation.epsilon`. The other says whom it served how well
(`client/measurement/group_counts.py`); it costs `fairness.epsilon`. Each has the noise that leaves least in the sum
over all sites, among those that the run can have: it is the sum that says most.
"""

from __future__ import annotations

from common.config.schema import RunConfig
from common.fairness.table import table_of
from common.privacy.count_noise import CountNoise, gaussian_noise, laplace_noise, shared_noise
from common.privacy.plan import delta_of, pair_law

FIGURES = 2
"""Vectors of counts that say whether a run helped: four of a patient's two models, and that of the codes."""


def noise_of(config: RunConfig) -> CountNoise | None:
    """The noise that `evaluation.epsilon` needs; None where a run tells exact figures.

    It is Laplace noise, or Gaussian noise that the sites share, at the training's delta, at the site of the cohort that
    needs the smallest: of two vectors and a cohort of five or six sites on the latter leaves less.
    """
    epsilon = config.evaluation.epsilon
    if epsilon is None:
        return None
    cohort = config.privacy.cohort
    kinds: list[CountNoise] = [laplace_noise(epsilon, vectors=FIGURES)]
    if pair_law(config) is not None:
        delta = min(delta_of(config, band) for band in cohort.values())
        kinds += _shared(config, epsilon, delta, vectors=FIGURES)
    return _least(kinds)


def group_noise_of(config: RunConfig) -> CountNoise | None:
    """The noise that `fairness.epsilon` needs, at `fairness.delta` where it is Gaussian; None where no group is told.

    Raises:
        ConfigError: The config names no groups that could be told of.
    """
    epsilon, delta = config.fairness.epsilon, config.fairness.delta
    if epsilon is None:
        return None
    vectors = table_of(config.fairness).num_vectors
    kinds: list[CountNoise] = [laplace_noise(epsilon, vectors=vectors), gaussian_noise(epsilon, delta, vectors=vectors)]
    return _least([*kinds, *_shared(config, epsilon, delta, vectors=vectors)])


def _shared(config: RunConfig, epsilon: float, delta: float, *, vectors: int) -> list[CountNoise]:
    law = pair_law(config)
    if law is None:
        return []
    return [shared_noise(epsilon, delta, vectors=vectors, law=law, cohort=config.privacy.cohort)]


def _least(kinds: list[CountNoise]) -> CountNoise:
    return min(kinds, key=lambda noise: noise.variance_if_all_tell)
