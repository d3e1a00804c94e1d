"""How well one patient is recognised at two hospitals by what both answer: rounded distances to an asker's own codes.

An asker sends codes that it has, of public studies for one, and is told handles, which are another at each hospital,
and distances. Distances from many codes place a study as satellites place a receiver: two studies that are as far from
all of them are near each other, wherever they lie. Whose they are is known here alone: each patient with two studies
or more is spread over two hospitals in turns, as one who was seen at both.

Shapes: N studies of both hospitals, Q questions, P bytes a code.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from client.policy.site_schema import SearchLimits
from common.hashing.codes import Codes
from common.retrieval.nearest import nearest
from simulations.audits.code_linkage import Linkage, Patients, linkage

DEFAULT = SearchLimits()
"""What a hospital that sets nothing lets others find out."""
EVERYTHING = replace(DEFAULT, most_answers=10**9, distance_step=1, studies_per_day=10**9)
"""Every distance, to the bit: what the limits are held against."""


def linkage_over_sites(
    codes_NP: Codes,
    questions_QP: Codes,
    who: Patients,
    *,
    limits: SearchLimits,
    generator: np.random.Generator,
    num_resamples: int,
) -> Linkage | None:
    """How well studies of one patient at two hospitals are told from others; None where no patient has two.

    Args:
        codes_NP: Of all studies, in the order in which `spread` deals them out.
        questions_QP: What the asker sends to both, on one day.
        who: Whose studies they are.
        limits: How much each hospital tells.
        generator: Of the bootstrap.
        num_resamples: Of the bootstrap.
    """
    site_N = spread(who.patient_N)
    seen_NQ = np.empty((len(codes_NP), len(questions_QP)), np.float64)
    for site in (0, 1):
        seen_NQ[site_N == site] = told(codes_NP[site_N == site], questions_QP, limits=limits)
    return linkage(_apart(seen_NQ), who, generator=generator, num_resamples=num_resamples, site_N=site_N)


def _apart(seen_NQ: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of differences between all rows, a row at a time: all at once would not fit in memory."""
    return np.stack([np.abs(seen_NQ - seen_Q).sum(axis=1) for seen_Q in seen_NQ])


def spread(patient_N: NDArray[np.str_]) -> NDArray[np.int64]:
    """Hospital of each study, 0 or 1: those of a patient in turns, the first by the patient's place."""
    _, number_N = np.unique(patient_N, return_inverse=True)
    turn_N = np.empty(len(number_N), np.int64)
    for number in range(number_N.max() + 1):
        rows = np.flatnonzero(number_N == number)
        turn_N[rows] = (np.arange(len(rows)) + number) % 2
    return turn_N


def told(codes_MP: Codes, questions_QP: Codes, *, limits: SearchLimits) -> NDArray[np.float64]:
    """What an asker holds of each study after its questions of one day, `[M, Q]`: the distance that it was told.

    Of a study that an answer does not hold it knows that it is no nearer than the last one in it, and takes that; of
    one that was never told, and so has no handle, it holds the same for all.
    """
    seen_MQ = np.zeros((len(codes_MP), len(questions_QP)), np.float64)
    met_M = np.zeros(len(codes_MP), np.bool_)
    for number, question_P in enumerate(questions_QP):
        if met_M.sum() >= limits.studies_per_day:
            break
        found = nearest(question_P, codes_MP, k=min(limits.most_answers, len(codes_MP)))
        rows, distances = found.rows_F[: limits.most_answers], found.distances_F[: limits.most_answers]
        rounded = np.ceil(distances / limits.distance_step) * limits.distance_step
        seen_MQ[:, number] = rounded[-1]
        seen_MQ[rows, number] = rounded
        met_M[rows] = True
    return seen_MQ
