"""Tables of sex by age without noise, which tests put patients in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from common.fairness.marginals import Marginal
from common.fairness.table import TableForm
from common.retrieval.paired import CELLS
from server.report.fairness.group_table import GroupTable
from server.report.fairness.reconstruction import Tables

SEX = Marginal(("sex",), (("F", "M", "unknown"),))
SMALL = TableForm(
    (
        SEX,
        Marginal(("age_band",), (("young", "old"),)),
        Marginal(("sex", "age_band"), (("F", "M", "unknown"), ("young", "old"))),
    ),
    scored=(),
)
FEW_UNKNOWN = np.array([[60.0, 80.0], [50.0, 60.0], [2.0, 3.0]])


def told_of(crossed: NDArray[np.float64], found: float = 0.5) -> NDArray[np.float64]:
    """Counts from the number of patients by sex and age, `[3, 2]`, of whom a share is found by both models."""
    number_G = np.concatenate([crossed.sum(axis=1), crossed.sum(axis=0), crossed.ravel()])
    return np.outer(number_G, [found, 0.0, 0.0, 1 - found]).ravel()


def exact_table(crossed: NDArray[np.float64], found: float = 0.5) -> GroupTable:
    """The same as a table without noise."""
    return GroupTable.consistent(SMALL, told_of(crossed, found), variance=0.0)


def tables_of(
    sites: Sequence[NDArray[np.float64]],
    *,
    variance: float = 0.0,
    rng: np.random.Generator | None = None,
    totals: bool = False,
) -> Tables:
    """What some sites tell of their patients by sex and age, with noise of a variance where a generator is given."""
    told = [told_of(crossed) for crossed in sites]
    if rng is not None:
        told = [counts + rng.normal(0, np.sqrt(variance), len(counts)) for counts in told]
    return Tables(
        sites=tuple(GroupTable.consistent(SMALL, counts, variance=variance) for counts in told),
        whole=GroupTable.consistent(SMALL, np.sum(told, axis=0), variance=len(sites) * variance),
        covariance=np.eye(len(sites)),
        totals={n: (float(crossed.sum()), len(CELLS) * variance) for n, crossed in enumerate(sites)} if totals else {},
    )
