"""Noised counts of patients by group, made to agree with each other.

All vectors of a table count the same patients (`common/fairness/table.py`). The counts nearest to the told ones in the
least-squares sense for which that is so have less noise, and how much less is known exactly (Hay et al., PVLDB 2010,
arXiv 0904.0942, for hierarchies). It reads noised counts alone: post-processing.

Shapes: N counts, G groups of all marginals, C cells of a group.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from common.fairness.ranks import RankCounts
from common.fairness.scores import PairScores
from common.fairness.table import TableForm
from common.retrieval.paired import CELLS, Estimate, difference_of, share_of


@dataclass(frozen=True)
class GroupTable:
    """The counts of one site, or of several together.

    Attributes:
        form: What they count.
        counts: `[N]`, in patients.
        covariance: Of their noise, `[N, N]`, in patients squared.
    """

    form: TableForm
    counts: NDArray[np.float64]
    covariance: NDArray[np.float64]

    @classmethod
    def consistent(cls, form: TableForm, told: NDArray[np.float64], *, variance: float) -> GroupTable:
        """The nearest counts of which all vectors say the same.

        Args:
            form: What was told.
            told: `[N]`, in patients.
            variance: Of the noise in each of them, in patients squared.
        """
        onto_NN = form.onto_consistent_NN
        return cls(form, onto_NN @ told, variance * onto_NN)

    @cached_property
    def num_patients(self) -> NDArray[np.float64]:
        """Of each group, `[G]`."""
        number_G: NDArray[np.float64] = self.form.patients_GN @ self.counts
        return number_G

    @cached_property
    def covariance_of_patients(self) -> NDArray[np.float64]:
        """Of the noise in the number of each group, `[G, G]`."""
        covariance_GG: NDArray[np.float64] = self.form.patients_GN @ self.covariance @ self.form.patients_GN.T
        return covariance_GG

    def share(self, group: int, cells: Collection[str]) -> Estimate:
        """The share of a group's patients that is in some of `CELLS`.

        Raises:
            ValueError: No patient is left under the noise.
        """
        where = self.form.cells_of(group)
        which = np.array([cell in cells for cell in CELLS])
        return share_of(self.counts[where], which, covariance=self.covariance[where, where])

    def difference(self, group: int) -> Estimate:
        """How much more of a group's patients the final model finds than the start.

        Raises:
            ValueError: No patient is left under the noise.
        """
        where = self.form.cells_of(group)
        return difference_of(self.counts[where], covariance=self.covariance[where, where])

    def scores(self, group: int) -> PairScores | None:
        """The scores of a group's pairs; None where they are not told."""
        found = self.form.scores_of(group)
        if found is None:
            return None
        relevant, irrelevant = found
        both = np.r_[relevant, irrelevant]
        return PairScores(self.counts[relevant], self.counts[irrelevant], self.covariance[np.ix_(both, both)])

    def ranks(self, group: int) -> RankCounts | None:
        """The ranks of a group's studies; None where they are not told."""
        where = self.form.ranks_of(group)
        return None if where is None else RankCounts(self.counts[where], self.covariance[where, where])
