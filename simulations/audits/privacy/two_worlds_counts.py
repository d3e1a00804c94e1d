"""Two worlds of released counts: with one held-out patient who moves them as far as one can, and without.

Black box: the release is drawn many times by the pipeline, of counts that are zero but for that patient, who is found
in one cell of each vector; no other cell tells the worlds apart.

The test: each moved count is cut to where it can tell anything, from none to one patient, and they are added up; of
discrete Laplace noise that is the likelihood ratio. Its threshold is set on the first half of the trials. Of Gaussian
noise the sum itself is read (`bounds/gaussian_scores.py`).

Unit of privacy: the patient. Neighbouring relation: add or remove one.

Shapes: N trials, V vectors of counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from client.site import Site
from common.canonical import digest
from common.config.schema import RunConfig
from common.fairness.table import table_of
from common.privacy.accountant import epsilon_of
from common.privacy.count_noise import UNITS, CountNoise, GaussianCountNoise
from common.privacy.held_out import FIGURES
from common.privacy.plan import delta_of
from simulations.audits.privacy.bounds.gaussian_scores import most_noise
from simulations.audits.privacy.bounds.trade_off import MOST_EPSILON
from simulations.audits.privacy.bounds.two_worlds import Trials, epsilon_of_trials
from simulations.audits.privacy.interface import Check, Measured
from simulations.audits.privacy.pipeline import Pipeline
from simulations.audits.privacy.subject import Subject

NUM_TRIALS = 40_000
CONFIDENCE = 0.95
FALSE_ALARM = 1e-6
"""Probability with which a correct release is refuted."""

Counts = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Told:
    """One kind of release, in both worlds.

    Attributes:
        name: In words.
        claimed: Epsilon that the config names.
        delta: At which it is stated.
        noise: The law that the pipeline has for it.
        with_patient: Counts `[N, V]` that the patient moves, in patients.
        without: The same without the patient.
    """

    name: str
    claimed: float
    delta: float
    noise: CountNoise
    with_patient: Counts
    without: Counts

    def epsilon_shown(self, confidence: float) -> float:
        """A lower bound of the release's epsilon."""
        if isinstance(self.noise, GaussianCountNoise):
            return self._of_gaussian(self.noise, confidence)
        half = len(self.without) // 2
        inside, outside = (counts.clip(0, 1).sum(axis=1) for counts in (self.with_patient, self.without))
        thresholds = np.linspace(0.25, 0.99, 4) * self.noise.vectors
        best = max(
            thresholds,
            key=lambda at: epsilon_of_trials(_trials(inside[:half], outside[:half], at), delta=0.0, confidence=0.5),
        )
        return epsilon_of_trials(_trials(inside[half:], outside[half:], best), delta=self.delta, confidence=confidence)

    def _of_gaussian(self, noise: GaussianCountNoise, confidence: float) -> float:
        inside, outside = (counts.sum(axis=1) for counts in (self.with_patient, self.without))
        multiplier = most_noise(inside, outside, sampling_probability=1.0, steps=1, confidence=confidence)
        if multiplier == math.inf:
            return 0.0
        return min(epsilon_of([replace(noise.event, noise_multiplier=multiplier)], delta=self.delta), MOST_EPSILON)


def _trials(inside: Counts, outside: Counts, threshold: float) -> Trials:
    return Trials(
        num_with=len(inside),
        missed=int((inside < threshold).sum()),
        num_without=len(outside),
        alarms=int((outside >= threshold).sum()),
    )


def _measure(pipeline: Pipeline, subject: Subject) -> Measured:
    with subject.sites(pipeline) as sites:
        found = list(_told(pipeline, subject.config, sites))
    if not found:
        return Measured(
            holds=None,
            sentence="The config tells exact figures, or none (evaluation.epsilon and fairness.epsilon are null).",
            power="None: no epsilon is claimed of them.",
        )
    shown = [(told, told.epsilon_shown(CONFIDENCE)) for told in found]
    refuting = [(told, told.epsilon_shown(1 - FALSE_ALARM / len(found))) for told in found]
    worst, bound = max(shown, key=lambda pair: pair[1] / pair[0].claimed)
    sure = worst.epsilon_shown(1 - FALSE_ALARM / len(found))
    told = "; ".join(f"{one.name}: at least {least:.3f} where {one.claimed:g} is named" for one, least in shown)
    return Measured(
        holds=all(least <= one.claimed for one, least in refuting),
        sentence=f"Epsilon that {NUM_TRIALS:,} releases with a patient and as many without show, of {told}.",
        power=(
            f"Of {worst.name}, a true epsilon of about {worst.claimed * worst.claimed / max(sure, 1e-9):.2f} would be "
            "refuted; that happens to a correct release once in a million audits. What a patient can move is asked by "
            "the check of tables."
        ),
        claimed_epsilon=worst.claimed,
        lower_bound=bound,
        confidence=CONFIDENCE,
    )


def _told(pipeline: Pipeline, config: RunConfig, sites: Sequence[Site]) -> Iterator[Told]:
    """Each release that the config names."""
    training_delta = delta_of(config, sites[0].patients_band)
    num_vectors = table_of(config.fairness).num_vectors if config.fairness.epsilon is not None else 0
    named = (
        ("patients found", pipeline.noise_of, FIGURES, config.evaluation.epsilon, training_delta),
        ("counts by group", pipeline.group_noise_of, num_vectors, config.fairness.epsilon, config.fairness.delta),
    )
    for name, noise_of, vectors, claimed, delta in named:
        if claimed is None:
            continue
        noise = noise_of(config)
        worlds = [_drawn(pipeline, sites, noise, vectors, name=name, units=units) for units in (UNITS, 0)]
        yield Told(
            name=name,
            claimed=claimed,
            delta=delta if isinstance(noise, GaussianCountNoise) else 0.0,
            noise=noise,
            with_patient=worlds[0],
            without=worlds[1],
        )


def _drawn(
    pipeline: Pipeline, sites: Sequence[Site], noise: CountNoise, vectors: int, *, name: str, units: int
) -> Counts:
    """Releases `[N, V]` of the first site's counts that the patient moves."""
    site, exact = sites[0], np.full((NUM_TRIALS, vectors), units, dtype=np.int64)
    round_noise = None
    if noise.is_shared and site.pairing is not None:
        statements = tuple(each.pairing.key.statement for each in sites if each.pairing is not None)
        round_noise = pipeline.open_round(site.pairing, statements, context=digest(["audit", name, units]))
    counts: Counts = pipeline.drawn(site, exact, noise, round_number=1, round_noise=round_noise)
    return counts


CHECK = Check(
    name="two-worlds-counts",
    question="Can anyone tell from released counts whether a held-out patient was counted?",
    claim="Counts of held-out patients tell no more of one than the epsilon that is named for them.",
    measure=_measure,
)
