"""Which groups of a table of noised counts are not shown.

A group is shown where it surely has `evaluation.least_group` patients, as far as the noise lets us say; else it is not,
nor are others from which it could be told (complementary suppression: Cox 1980, JASA 75,
doi:10.1080/01621459.1980.10477481): what is shown, each sum known as well as its noise lets it be, leaves every count
that is not shown a range of `LEAST_RANGE` patients, by linear programming over all tables (`_DOUBT`).

Shapes: G groups of all marginals, H hidden ones, K linear constraints.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence

import numpy as np
from scipy.optimize import linprog
from scipy.stats import norm

from common.fairness.marginals import Marginal
from common.retrieval.paired import CELLS, CONFIDENCE
from server.report.group_table import GroupCounts, margins_of, total_of

LEAST_RANGE = 5
"""Patients within which a count that is not shown cannot be told, at least."""

_SURE = float(norm.ppf(CONFIDENCE))
_DOUBT = float(norm.ppf(0.999))
"""Deviations of noise beyond which a reader believes none: one sum in 500 is further off."""
_ROUNDING = 1e-6
"""Of the linear programs' constraints, in patients."""


def suppressed(table: GroupCounts, *, least: int) -> frozenset[int]:
    """The groups of a consistent table that are not shown.

    Args:
        table: The table.
        least: Patients that a shown group has at least.
    """
    number_G = table.num_patients
    deviation_G = np.sqrt(len(CELLS) * np.diag(table.covariance))
    hidden = set(np.flatnonzero(number_G - _SURE * deviation_G < least).tolist())
    while True:
        exposed = [group for group in sorted(hidden) if width_of(table, hidden, group) < LEAST_RANGE]
        beside = {one for group in exposed for one in _neighbours(table.marginals, group) if one not in hidden}
        if not beside:
            return frozenset(hidden)
        hidden.add(min(beside, key=lambda group: (number_G[group], group)))


def width_of(table: GroupCounts, hidden: Collection[int], group: int) -> float:
    """How far apart the least and the greatest count of a hidden group are that fit all that is shown.

    Each sum that is shown is taken to be as far off as its noise can be, and no count to be negative. Where no table
    fits, nothing follows from what is shown.
    """
    order = sorted(hidden)
    rows_KH = np.vstack([margins_of(table.marginals), total_of(table.marginals)])[:, order]
    known_K = rows_KH @ table.num_patients[order]
    covariance_HH = len(CELLS) * table.covariance[np.ix_(order, order)]
    reach_K = _DOUBT * np.sqrt(np.maximum(np.einsum("kh,hi,ki->k", rows_KH, covariance_HH, rows_KH), 0.0))
    goal_H = np.array([float(one == group) for one in order])
    ends = []
    for sign in (1, -1):
        found = linprog(
            sign * goal_H,
            A_ub=np.vstack([rows_KH, -rows_KH]),
            b_ub=np.concatenate([known_K + reach_K, reach_K - known_K]) + _ROUNDING,
            bounds=(0, None),
        )
        if found.status != 0:
            return math.inf
        ends.append(sign * float(found.fun))
    return ends[1] - ends[0]


def _neighbours(marginals: Sequence[Marginal], group: int) -> Iterator[int]:
    """Groups with which one stands in a constraint."""
    rows_KG = np.vstack([margins_of(marginals), total_of(marginals)])
    for row_G in rows_KG[rows_KG[:, group] != 0]:
        yield from np.flatnonzero(row_G).tolist()
