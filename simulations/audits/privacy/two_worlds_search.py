"""Does an answer to a search tell whether a patient's studies lie in a hospital's index?

Two worlds for each patient: the studies are in the index, or they are not, by a coin. Who asks holds a picture of the
patient, either one that lies in the index if the patient does, or another study that never does, and asks once, by
production's desk under the limits of a `site.yaml` that names none. The nearest distance that is told is the guess.

No noise lies on an answer, so no epsilon is claimed and nothing can be refuted: it is measured what somebody who
already holds a picture learns. That is why a hospital chooses who may search it (`search.allowed`).

Shapes: N studies, A patients, P bytes a code.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray

from client.audits.linear import area_under_curve
from common.encoders.dual import embed_in_batches
from common.fairness.intervals import Interval
from common.hashing.codes import Codes, binarise
from common.seeds import numpy_generator
from simulations.audits.code_inversion import area_interval
from simulations.audits.privacy.asked_hospital import ASKER, LIMITS, PAUSE, AskedHospital, write_index
from simulations.audits.privacy.interface import Check, Measured
from simulations.audits.privacy.joint_training import trained_together
from simulations.audits.privacy.membership_worlds import pool_of
from simulations.audits.privacy.pipeline import Pipeline
from simulations.audits.privacy.subject import Subject

NUM_RESAMPLES = 200
MOST_ASKED = 100
"""Patients that are asked for: one answer each, of one study, stays below the studies of a day."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What answers told of who is in an index.

    Attributes:
        num_patients: That were asked for.
        num_refused: Questions that were refused; the guess is then no better than a coin.
        area: How often a patient who is in the index is told nearer than one who is not.
        interval: Its 95% interval, over patients.
    """

    num_patients: int
    num_refused: int
    area: float
    interval: Interval


def told_by_search(pipeline: Pipeline, subject: Subject) -> dict[str, Told]:
    """What answers tell, by what who asks holds.

    Raises:
        DataError: There are fewer than twenty patients.
    """
    pool = pool_of(subject)
    codes_NP = _codes(pipeline, subject, pool.rows_N)
    coins = numpy_generator(subject.seed, "audit", "two worlds of a search", "coins")
    is_in_A = coins.random(len(pool.sites)) < 0.5
    kept_N = _is_never_indexed(pool.patient_N)
    indexed_NP = codes_NP[is_in_A[pool.patient_N] & ~kept_N]
    with TemporaryDirectory() as folder:
        write_index(Path(folder), indexed_NP)
        hospital = AskedHospital(pipeline=pipeline, folder=Path(folder), code_bytes=codes_NP.shape[1])
        return {
            holds: _asked(hospital, holds, codes_NP[rows], is_in_A[pool.patient_N[rows]], subject.seed)
            for holds, rows in (
                ("the picture itself", _first_of_each(pool.patient_N, ~kept_N)),
                ("a picture of another study", _first_of_each(pool.patient_N, kept_N)),
            )
        }


def measure(pipeline: Pipeline, subject: Subject) -> Measured:
    """Guess from answers who is in an index.

    Raises:
        DataError: There are fewer than twenty patients.
    """
    found = told_by_search(pipeline, subject)
    return Measured(
        holds=None,
        sentence="Who asks once and holds "
        + "; ".join(
            f"{holds} of a patient tells whether the patient is in the index with an area of {one.area:.2f} "
            f"({one.interval.low:.2f} to {one.interval.high:.2f}; {one.num_patients} patients, {one.num_refused} "
            "questions refused)"
            for holds, one in found.items()
        )
        + ". A guess is 0.50. No noise lies on an answer, and no epsilon is claimed.",
        power=(
            f"Limits are those where site.yaml names none: distances rounded up to {LIMITS.distance_step} bits, who "
            "may ask by name. Who asks more than once, or many who ask together, learn more (wardround audit codes)."
        ),
    )


CHECK = Check(
    name="two-worlds-search",
    question="Does an answer to a search tell whether a patient's studies are in a hospital's index?",
    claim="Nothing is promised: an answer carries no noise, and who may ask is the hospital's choice. It is measured.",
    measure=measure,
)


def _asked(hospital: AskedHospital, holds: str, codes_AP: Codes, is_in_A: NDArray[np.bool_], seed: int) -> Told:
    far = 8.0 * hospital.code_bytes + LIMITS.distance_step
    nearest_A = np.full(min(len(codes_AP), MOST_ASKED), far)
    num_refused = 0
    with hospital.open(holds.replace(" ", "-")) as ask:
        for number, code_P in enumerate(codes_AP[:MOST_ASKED]):
            answer = ask(code_P, ASKER, 1)
            num_refused += answer is None
            if answer is not None and answer.hits:
                nearest_A[number] = answer.hits[0].distance
            hospital.now += PAUSE
    true_A = is_in_A[: len(nearest_A)].astype(np.float64)
    return Told(
        num_patients=len(nearest_A),
        num_refused=num_refused,
        area=area_under_curve(-nearest_A, true_A),
        interval=area_interval(
            -nearest_A,
            true_A,
            np.arange(len(nearest_A)).astype(str),
            numpy_generator(seed, "audit", "two worlds of a search", holds),
            NUM_RESAMPLES,
        ),
    )


def _codes(pipeline: Pipeline, subject: Subject, rows_N: NDArray[np.intp]) -> Codes:
    """Codes `[N, P]` of the studies' images by the model that the pipeline trains."""
    rows = torch.from_numpy(rows_N)
    model = trained_together(pipeline, subject)
    image, _ = embed_in_batches(model, subject.consortium.images[rows], subject.consortium.reports[rows])
    return binarise(image.code)


def _is_never_indexed(patient_N: NDArray[np.intp]) -> NDArray[np.bool_]:
    """The last study of each patient who has more than one."""
    last_N = np.zeros(len(patient_N), np.bool_)
    last_N[len(patient_N) - 1 - np.unique(patient_N[::-1], return_index=True)[1]] = True
    has_more_N = np.bincount(patient_N)[patient_N] > 1
    return last_N & has_more_N


def _first_of_each(patient_N: NDArray[np.intp], among_N: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The first row of each patient among some."""
    rows = np.flatnonzero(among_N)
    found: NDArray[np.intp] = rows[np.unique(patient_N[rows], return_index=True)[1]]
    return found
