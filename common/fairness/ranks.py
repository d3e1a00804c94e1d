"""At which rank the right report of a group's images stands: from noised counts in public bands of ranks.

Hits at 1, 5 and 10 are nested, so one histogram of the bands 1, 2 to 5, 6 to 10 and beyond tells all of them, for the
price of one vector. A band has two bins, one for either end, and a study is split between them so that the mean of the
ends' reciprocals is its own: mean reciprocal ranks are exact, and still each patient counts one altogether. From the
bins:

- recall at 1, 5 and 10: the share in the bands up to there;
- mean reciprocal rank (`mrr`): the mean of the bins' reciprocals.

Intervals hold patients and noise together at `CONFIDENCE`. A recall's is the score interval of a share
(`common/retrieval/paired.py`); the mean's is that of a share, shorter by how much less reciprocal ranks vary than a yes
or no of the same mean. The ends of a band vary more than what is between them, so that is no less than they do.

`RankCounts` is a commutative monoid under `merge` with `zero`, up to rounding; what is merged must be disjoint in
patients and have noise of its own each. Edge cases: without a patient there is no figure; noise that drowns the counts
gives the whole range.

Shapes: N studies, B bins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.retrieval.paired import Estimate, rate_of, share_of

RECIPROCALS = (1.0, 1 / 2, 1 / 5, 1 / 6, 1 / 10, 1 / 11, 0.0)
"""Of the bins: rank 1, then both ends of 2 to 5, of 6 to 10, and of what is beyond."""
NUM_RANK_BINS = len(RECIPROCALS)
BINS_WITHIN = {1: 1, 5: 3, 10: 5}
"""How many of the bins, from the first, are ranks up to a depth."""
WHOLE = 2520
"""Parts of a study that are split between two bins; with it the reciprocals of the first ten ranks are exact."""

_RECIPROCALS_B = np.array(RECIPROCALS)
_FIRST_RANKS = (1, 2, 6, 11)
"""Of each band."""
_UPPER, _LOWER = (0, 1, 3, 5), (0, 2, 4, 6)
"""The bins of each band's ends; the first band has one rank."""
_LEAST_SPREAD = 0.1
"""Of reciprocal ranks, over that of a yes or no: counts of few patients under noise may seem not to vary."""


@dataclass(frozen=True)
class RankCounts:
    """Counts of ranks of one group, of one site or of several; noise may make some negative.

    Attributes:
        counts: `[B]`, in patients.
        covariance: Of their noise, `[B, B]`, in patients squared.
    """

    counts: NDArray[np.float64]
    covariance: NDArray[np.float64]

    @classmethod
    def zero(cls) -> RankCounts:
        """Those of nobody."""
        return cls(np.zeros(NUM_RANK_BINS), np.zeros((NUM_RANK_BINS, NUM_RANK_BINS)))

    def merge(self, other: RankCounts) -> RankCounts:
        """Those of both groups of patients together."""
        return RankCounts(self.counts + other.counts, self.covariance + other.covariance)

    def figures(self) -> dict[str, Estimate]:
        """Recall at 1 and 5 and the mean reciprocal rank, by the names that they have in a summary.

        Raises:
            ValueError: They speak of nobody.
        """
        return {"recall_at_1": self.recall_at(1), "recall_at_5": self.recall_at(5), "mrr": self.mean_reciprocal_rank()}

    def recall_at(self, depth: int) -> Estimate:
        """Share of images whose report is among the first so many.

        Args:
            depth: One of `BINS_WITHIN`.

        Raises:
            ValueError: They speak of nobody.
        """
        within = np.arange(NUM_RANK_BINS) < BINS_WITHIN[depth]
        return share_of(self.counts, within, covariance=self.covariance)

    def mean_reciprocal_rank(self) -> Estimate:
        """Mean of one over the rank.

        Raises:
            ValueError: They speak of nobody.
        """
        num = float(self.counts.sum())
        if num < 1:
            raise ValueError("no patient is left under the noise")
        mean = float(_RECIPROCALS_B @ self.counts) / num
        every = np.ones(NUM_RANK_BINS)
        noise = [
            float(_RECIPROCALS_B @ self.covariance @ _RECIPROCALS_B),
            -2 * float(_RECIPROCALS_B @ self.covariance @ every),
            float(every @ self.covariance @ every),
        ]
        # As if there were more patients, by as much as less varies; the noise stays what it is.
        more = 1 / self._spread(mean, num)
        return rate_of(
            mean,
            num_patients=more * num,
            noise=(more**2 * noise[0], more**2 * noise[1], more**2 * noise[2]),
            variance=1.0,
        )

    def _spread(self, mean: float, num: float) -> float:
        """The variance of reciprocal ranks over that of a yes or no of their mean, at most 1."""
        most = mean * (1 - mean)
        if most <= 0:
            return 1.0
        variance = float(_RECIPROCALS_B**2 @ self.counts) / num - mean**2
        return min(max(variance / most, _LEAST_SPREAD), 1.0)


def parts_by_bin(rank_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """How studies are split between the bins, in `WHOLE` a study, `[N, B]`.

    Args:
        rank_N: From 1.
    """
    band_N = np.searchsorted(np.array(_FIRST_RANKS), rank_N, side="right") - 1
    upper_N, lower_N = np.array(_UPPER)[band_N], np.array(_LOWER)[band_N]
    low_N = _RECIPROCALS_B[lower_N]
    width_N = _RECIPROCALS_B[upper_N] - low_N
    share_N = np.divide(1 / rank_N - low_N, width_N, out=np.ones(len(rank_N)), where=width_N > 0)
    parts_N = np.rint(WHOLE * share_N).astype(np.int64)
    parts_NB = np.zeros((len(rank_N), NUM_RANK_BINS), dtype=np.int64)
    rows = np.arange(len(rank_N))
    parts_NB[rows, lower_N] = WHOLE - parts_N
    parts_NB[rows, upper_N] += parts_N
    return parts_NB
