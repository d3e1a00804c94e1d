"""Is the noise on released counts enough for what one patient moves in them?

Held-out patients are told of in two releases: how many each model finds, and the table by group with scores and ranks.
Made-up patients, among them some of many studies in many groups, are left out one by one, and the counts' movement is
measured in the norms that the noise is made for. Then the noise is drawn as a release draws it, and its width held
against the movement: the two together are worth an epsilon at least, which may not exceed what the config names.

Discrete Laplace noise of scale b is worth (L1 movement) / b; Gaussian noise of deviation s is worth what
`loss_distribution.py` says of the multiplier s / (L2 movement).

Shapes: N studies, C counts of a release, B bins of a score.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from client.measurement.noised_statistics import Found
from client.measurement.scores import Scores
from common.config.schema import RunConfig
from common.fairness.scores import NUM_BINS
from common.fairness.table import table_of
from common.privacy.count_noise import UNITS, CountNoise, LaplaceCountNoise
from common.privacy.events import SampledGaussian
from common.seeds import numpy_generator
from common.types import StudyRecord
from simulations.audits.privacy.interface import Check, Measured
from simulations.audits.privacy.loss_distribution import epsilon_bounds
from simulations.audits.privacy.pipeline import Pipeline
from simulations.audits.privacy.steps import FIRST_ROUND, Bench, bench
from simulations.audits.privacy.subject import Subject

STUDIES_OF_EACH = (1, 1, 1, 2, 3, 7, 12, 40)
NUM_ANCHORS = 50
NUM_VALUES = 100_000
WIDTH_ERROR = 0.02
"""Held back for chance: 100,000 values of Laplace noise tell a width to 0.35%, of Gaussian noise to 0.22%."""
CONFIDENCE = 1 - 1e-6
"""That the noise is no wider than `WIDTH_ERROR` above what was measured: five deviations and more."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Release:
    """One release of counts, and what was measured of it.

    Attributes:
        name: In words.
        claimed: Epsilon that the config names.
        least: Epsilon that the noise and movement are worth at least, at `CONFIDENCE`.
        moved: Farthest that one patient moved it, in patients, in the norm of its noise.
    """

    name: str
    claimed: float
    least: float
    moved: float


def measure(pipeline: Pipeline, subject: Subject) -> Measured:
    """Hold the noise of each release against what one patient moves."""
    config = subject.config
    patients = _Patients.drawn(subject.seed)
    with bench(pipeline, subject) as on:
        found = [asked.measured(on, patients) for asked in (*_figures(on, config), *_groups(on, config))]
    if not found:
        return Measured(
            holds=None,
            sentence="The config tells exact figures, or none: evaluation.epsilon and fairness.epsilon are null.",
            power="Nothing was looked at.",
        )
    worst = max(found, key=lambda one: one.least / one.claimed)
    told = "; ".join(
        f"{one.name}: one patient moves it by {one.moved:.3g} patients, and its noise is worth epsilon "
        f"{one.least:.3f} at least, where {one.claimed:g} is named"
        for one in found
    )
    return Measured(
        holds=all(one.least <= one.claimed for one in found),
        sentence=f"{told[0].upper()}{told[1:]}.",
        power=(
            f"Noise that is {2 * WIDTH_ERROR:.0%} too narrow for these {len(STUDIES_OF_EACH)} patients, of up to "
            f"{max(STUDIES_OF_EACH)} studies in different groups, is seen."
        ),
        claimed_epsilon=worst.claimed,
        lower_bound=worst.least,
        confidence=CONFIDENCE,
    )


CHECK = Check(
    name="tables",
    question="Is the noise on released counts enough for what one patient moves in them?",
    claim="Counts of held-out patients leave with noise that hides whether any one patient is among them.",
    measure=measure,
)


@dataclass(frozen=True, kw_only=True)
class _Patients:
    """Made-up studies and what models make of them."""

    records: tuple[StudyRecord, ...]
    start: Found
    final: Found
    scores: Scores

    @classmethod
    def drawn(cls, seed: int) -> _Patients:
        generator = numpy_generator(seed, "audit", "tables")
        records = [
            StudyRecord(
                study_id=f"p{patient}-{study}",
                patient_id=f"p{patient}",
                report="",
                sex=("F", "M", None)[int(generator.integers(3))],
                age=int(generator.integers(20, 90)),
                race=("Asian", "White", None)[int(generator.integers(3))],
            )
            for patient, count in enumerate(STUDIES_OF_EACH)
            for study in range(count)
        ]
        size = len(records)
        return cls(
            records=tuple(records),
            start=_found(generator, size),
            final=_found(generator, size),
            scores=Scores(
                relevant=_in_one_bin(generator, 1, size),
                irrelevant=_in_one_bin(generator, NUM_ANCHORS, size),
            ),
        )

    def without(self, patient: str) -> _Patients:
        kept = np.array([record.patient_id != patient for record in self.records])
        return _Patients(
            records=tuple(record for record in self.records if record.patient_id != patient),
            start=Found(rank=self.start.rank[kept], by_code=self.start.by_code[kept]),
            final=Found(rank=self.final.rank[kept], by_code=self.final.by_code[kept]),
            scores=Scores(relevant=self.scores.relevant[kept], irrelevant=self.scores.irrelevant[kept]),
        )

    @property
    def names(self) -> list[str]:
        return [record.patient_id for record in self.records]


def _found(generator: np.random.Generator, size: int) -> Found:
    return Found(rank=generator.integers(1, 40, size), by_code=generator.random(size) < 0.5)


def _in_one_bin(generator: np.random.Generator, pairs: int, size: int) -> Ints:
    """So many pairs of each study, all in one bin, `[N, B]`: spread over bins they would move a table less far."""
    return pairs * generator.multinomial(1, np.full(NUM_BINS, 1 / NUM_BINS), size=size).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """A release as the config asks for it, and the exact counts that it is made of."""

    name: str
    claimed: float
    delta: float
    noise: CountNoise
    counts: Callable[[_Patients], Ints]

    def measured(self, on: Bench, patients: _Patients) -> Release:
        whole = self.counts(patients)
        apart = [whole - self.counts(patients.without(patient)) for patient in sorted(set(patients.names))]
        width = _width(on, self.noise) * (1 + WIDTH_ERROR)
        if isinstance(self.noise, LaplaceCountNoise):
            moved = max(float(np.abs(one).sum()) for one in apart) / UNITS
            # The variance of discrete Laplace noise of scale b is 2 b^2, up to a share of 1 / (12 b^2) in units.
            return self._release(moved, moved / (width / math.sqrt(2)))
        moved = max(float(np.linalg.norm(one)) for one in apart) / UNITS
        law = self.noise.law
        own = width / math.sqrt(1 + law.factor**2 * law.peers)
        event = SampledGaussian(noise_multiplier=law.guaranteed(own / moved), sampling_probability=1.0, steps=1)
        return self._release(moved, epsilon_bounds(event, delta=self.delta).low)

    def _release(self, moved: float, least: float) -> Release:
        return Release(name=self.name, claimed=self.claimed, least=least, moved=moved)


def _figures(on: Bench, config: RunConfig) -> Iterator[_Asked]:
    noise = on.pipeline.noise_of(config)
    if noise is None or config.evaluation.epsilon is None:
        return

    def counts(of: _Patients) -> Ints:
        return np.array(astuple(on.pipeline.count(of.start, of.final, patients=of.names)), dtype=np.int64)

    claimed, delta = config.evaluation.epsilon, on.plan.delta
    yield _Asked(name="figures of all", claimed=claimed, delta=delta, noise=noise, counts=counts)


def _groups(on: Bench, config: RunConfig) -> Iterator[_Asked]:
    noise = on.pipeline.group_noise_of(config)
    if noise is None or config.fairness.epsilon is None:
        return
    form = table_of(config.fairness)

    def counts(of: _Patients) -> Ints:
        scores = of.scores if form.scored else None
        table: Ints = on.pipeline.group_counts(form, of.start, of.final, scores, records=of.records)
        return table

    claimed, delta = config.fairness.epsilon, config.fairness.delta
    yield _Asked(name="the table by group", claimed=claimed, delta=delta, noise=noise, counts=counts)


def _width(on: Bench, noise: CountNoise) -> float:
    """Deviation of the noise as it is drawn, in patients."""
    nothing = np.zeros(NUM_VALUES, dtype=np.int64)
    shared = on.round_noise(FIRST_ROUND) if noise.is_shared else None
    noised = on.pipeline.drawn(on.site, nothing, noise, round_number=FIRST_ROUND, round_noise=shared)
    return float(np.sqrt(np.mean(np.square(noised))))
