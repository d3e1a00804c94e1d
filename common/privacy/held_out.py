"""The noise of what sites tell of their held-out patients. It follows from the config alone: both sides know it.

What the counts are, and why a patient moves them by no more: `client/measurement/noised_statistics.py`.
"""

from __future__ import annotations

from common.config.schema import RunConfig
from common.privacy.mechanisms import DiscreteLaplaceMechanism

FIGURES = 2
"""Vectors of counts in the one release of a run, of which a patient moves each by at most `UNITS` altogether."""

UNITS = 8
"""Parts of a patient that a count is told in: a patient of three studies, one of them found, counts 2 of 8."""


def noise_of(config: RunConfig) -> DiscreteLaplaceMechanism | None:
    """The noise that `evaluation.epsilon` needs; None where a run tells exact figures."""
    if config.evaluation.epsilon is None:
        return None
    return DiscreteLaplaceMechanism(noise_scale=FIGURES / config.evaluation.epsilon, sensitivity=UNITS)


def variance_of(mechanism: DiscreteLaplaceMechanism) -> float:
    """Variance of the noise in one count, in patients squared."""
    return mechanism.variance / UNITS**2
