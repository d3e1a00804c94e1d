"""A table of sex by age without noise, which tests put patients in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from common.fairness.marginals import Marginal
from server.report.group_table import GroupCounts

SMALL = (
    Marginal(("sex",), (("F", "M", "unknown"),)),
    Marginal(("age_band",), (("young", "old"),)),
    Marginal(("sex", "age_band"), (("F", "M", "unknown"), ("young", "old"))),
)


def exact_table(crossed: NDArray[np.float64], found: float = 0.5) -> GroupCounts:
    """A table without noise from the number of patients by sex and age, `[3, 2]`, of whom a share is found by both."""
    number_G = np.concatenate([crossed.sum(axis=1), crossed.sum(axis=0), crossed.ravel()])
    counts = np.outer(number_G, [found, 0.0, 0.0, 1 - found])
    return GroupCounts(SMALL, counts, np.zeros((len(number_G), len(number_G))))


FEW_UNKNOWN = np.array([[60.0, 80.0], [50.0, 60.0], [2.0, 3.0]])
