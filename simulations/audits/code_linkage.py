"""How well codes tell that two studies are one patient's, over all hospitals.

Whoever holds the code of a study, and is told distances from it, may look for the patient's other studies: the nearest
ones. Two views of one study count as two studies, as a synthetic cohort lists them. Codes are made so that like studies
are near, so that the same is told among studies of the same findings: what is left there is the patient.

Shapes: N studies, Q those whose patient has another one, P bytes a code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.fairness.intervals import Interval, patient_bootstrap


@dataclass(frozen=True, kw_only=True, eq=False)
class Patients:
    """Who is who among some studies.

    Attributes:
        patient_N: Patient of each.
        findings_N: Its findings, as one text.
    """

    patient_N: NDArray[np.str_]
    findings_N: NDArray[np.str_]


@dataclass(frozen=True, kw_only=True)
class Linkage:
    """What distances tell of patients; each figure is a mean over studies, with an interval over patients.

    Attributes:
        num_studies: That have another study of their patient.
        area: Probability that another study of the patient is nearer than one of somebody else, ties half. 0.5: chance.
        area_interval: Of it, 95%.
        area_same_findings: The same, against others with the same findings; None where there are none.
        first: Share whose nearest study is the patient's; ties count in part.
        first_interval: Of it, 95%.
        first_by_chance: The share where distances say nothing.
    """

    num_studies: int
    area: float
    area_interval: Interval
    area_same_findings: float | None
    first: float
    first_interval: Interval
    first_by_chance: float


def linkage(
    distances_NN: NDArray[np.floating] | NDArray[np.integer],
    who: Patients,
    *,
    generator: np.random.Generator,
    num_resamples: int,
    site_N: NDArray[np.int64] | None = None,
) -> Linkage | None:
    """What distances between studies tell of their patients; None where no patient has two.

    Args:
        distances_NN: Between all studies.
        who: Whose they are.
        generator: Of the bootstrap.
        num_resamples: Of the bootstrap.
        site_N: Where each lies, so that a study is held against those of other hospitals alone; None for all.
    """
    areas, alike, firsts, chances, rows = [], [], [], [], []
    for row, distance_N in enumerate(distances_NN):
        others_N = np.arange(len(distance_N)) != row if site_N is None else site_N != site_N[row]
        same_N = (who.patient_N == who.patient_N[row]) & others_N
        if not same_N.any() or same_N.sum() == others_N.sum():
            continue
        stranger_N = ~same_N & others_N
        rows.append(row)
        areas.append(_nearer(distance_N[same_N], distance_N[stranger_N]))
        alike_N = stranger_N & (who.findings_N == who.findings_N[row])
        if alike_N.any():
            alike.append(_nearer(distance_N[same_N], distance_N[alike_N]))
        nearest_N = (distance_N == distance_N[others_N].min()) & others_N
        firsts.append(float((nearest_N & same_N).sum() / nearest_N.sum()))
        chances.append(float(same_N.sum() / others_N.sum()))
    if not rows:
        return None

    def interval(values: list[float]) -> Interval:
        return patient_bootstrap(
            np.array(values), who.patient_N[rows], generator=generator, num_resamples=num_resamples
        )

    return Linkage(
        num_studies=len(rows),
        area=float(np.mean(areas)),
        area_interval=interval(areas),
        area_same_findings=float(np.mean(alike)) if alike else None,
        first=float(np.mean(firsts)),
        first_interval=interval(firsts),
        first_by_chance=float(np.mean(chances)),
    )


def _nearer(own_S: NDArray[np.generic], other_M: NDArray[np.generic]) -> float:
    """Probability that one of the first is smaller than one of the second, ties half."""
    ordered_M = np.sort(other_M)
    above_S = len(ordered_M) - np.searchsorted(ordered_M, own_S, side="right")
    level_S = len(ordered_M) - above_S - np.searchsorted(ordered_M, own_S, side="left")
    return float(((above_S + level_S / 2) / len(ordered_M)).mean())
