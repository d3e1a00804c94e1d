"""Figures of a group against those of everybody else, with an interval and a p-value by patient.

Shapes: N studies, K figures of a study, G groups, M exchanges, X groups or exchanges, P patients, B bootstrap draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client.audits.permutation import NUM_EXCHANGES, PatientExchange, p_values
from client.audits.studies import Grouped
from common.fairness.groups import LEAST_PATIENTS

NUM_BOOTSTRAP = 1000
Figures = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """One figure of one group.

    Attributes:
        group: The group.
        figure: Position of the figure.
        inside: Mean in the group.
        outside: Mean of everybody else.
        low: Lower end of the 95 % interval of the difference, by patient.
        high: Upper end.
        p_value: That the difference is above zero by chance, corrected for all groups and figures together.
    """

    group: str
    figure: int
    inside: float
    outside: float
    low: float
    high: float
    p_value: float

    @property
    def difference(self) -> float:
        """What the group has more."""
        return self.inside - self.outside


def contrasts(figures_NK: Figures, grouped: Grouped, *, rng: np.random.Generator) -> list[Contrast]:
    """Each group of an attribute against everybody else with a group, one-sided: is the figure higher in the group?

    Groups of fewer than `LEAST_PATIENTS`, or with fewer outside, are left out.

    Args:
        figures_NK: The figures of each study with a group.
        grouped: Those studies.
        rng: Decides exchanges and bootstrap.
    """
    groups, patients = grouped.groups, grouped.patients
    names = [group for group in sorted(set(groups)) if _is_large(group, groups, patients)]
    if not names:
        return []
    member_GN = np.array([[group == name for group in groups] for name in names], dtype=np.float64)
    order_MN = PatientExchange(patients, grouped.sites, rng).orders(NUM_EXCHANGES)
    seen_GK = _difference(member_GN, figures_NK)
    exchanged_MGK = np.stack([_difference(member_N[order_MN], figures_NK) for member_N in member_GN], axis=1)
    p_GK = p_values(seen_GK.ravel(), exchanged_MGK.reshape(len(order_MN), -1)).reshape(seen_GK.shape)
    low_GK, high_GK = interval(member_GN, figures_NK, patients, rng)
    inside_GK = member_GN @ figures_NK / member_GN.sum(axis=1, keepdims=True)
    return [
        Contrast(
            group=name,
            figure=k,
            inside=float(inside_GK[g, k]),
            outside=float(inside_GK[g, k] - seen_GK[g, k]),
            low=float(low_GK[g, k]),
            high=float(high_GK[g, k]),
            p_value=float(p_GK[g, k]),
        )
        for g, name in enumerate(names)
        for k in range(figures_NK.shape[1])
    ]


def _is_large(name: str, groups: Sequence[str], patients: Sequence[str]) -> bool:
    inside = {patient for patient, group in zip(patients, groups, strict=True) if group == name}
    return min(len(inside), len(set(patients) - inside)) >= LEAST_PATIENTS


def _difference(member_XN: Figures, figures_NK: Figures) -> Figures:
    """Mean of the members less the mean of everybody else, `[X, K]`."""
    inside_XK, size_X1 = member_XN @ figures_NK, member_XN.sum(axis=1, keepdims=True)
    outside_XK = figures_NK.sum(axis=0) - inside_XK
    return np.asarray(inside_XK / size_X1 - outside_XK / (member_XN.shape[1] - size_X1))


def interval(
    member_GN: Figures, figures_NK: Figures, patients: Sequence[str], rng: np.random.Generator
) -> tuple[Figures, Figures]:
    """Percentile bootstrap of the difference over patients, whose studies stay together."""
    times_BP, patient_N = bootstrap_counts(patients, rng)
    with_one_NK = np.column_stack([figures_NK, np.ones(len(figures_NK))])
    ends = []
    for member_N in member_GN:
        inside_BK = times_BP @ _by_patient(member_N[:, None] * with_one_NK, patient_N)
        outside_BK = times_BP @ _by_patient((1.0 - member_N)[:, None] * with_one_NK, patient_N)
        mean_BK = inside_BK[:, :-1] / np.maximum(inside_BK[:, -1:], 1.0)
        drawn_BK = mean_BK - outside_BK[:, :-1] / np.maximum(outside_BK[:, -1:], 1.0)
        ends.append(np.quantile(drawn_BK, (0.025, 0.975), axis=0))
    low_GK, high_GK = np.stack(ends, axis=1)
    return low_GK, high_GK


def _by_patient(figures_NK: Figures, patient_N: NDArray[np.int64]) -> Figures:
    """Sums over each patient's studies, `[P, K]`."""
    sums_PK = np.zeros((int(patient_N.max()) + 1, figures_NK.shape[1]))
    np.add.at(sums_PK, patient_N, figures_NK)
    return sums_PK


def bootstrap_counts(patients: Sequence[str], rng: np.random.Generator) -> tuple[Figures, NDArray[np.int64]]:
    """How often each patient is in each of `NUM_BOOTSTRAP` draws, `[B, P]`, and the patient's number of each study."""
    names, patient_N = np.unique(np.array(patients, dtype=str), return_inverse=True)
    drawn_BP = rng.multinomial(len(names), np.full(len(names), 1.0 / len(names)), size=NUM_BOOTSTRAP)
    return drawn_BP.astype(np.float64), patient_N.astype(np.int64)
