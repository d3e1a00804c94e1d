"""How much less of one group's images find their report than of everybody else's, model beside model.

One gallery of all sites' held-out studies; a model's *gap* is the recall at 10 of all others less that of the group.
What a model *keeps* is its recall over a reference's, and what it *leaves* its gap over the reference's. All figures
are means over seeds, each with its own cut of the patients.

Intervals are percentiles over resamples of the patients: a resample draws whole patients of the cohort, the same ones
for every model and every seed that holds them out, so that models are compared on the same patients. They hold the
choice of patients; what training itself varies by is in the mean over the seeds alone.

Shapes: Q queries of a seed, P patients of the cohort, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Hits = NDArray[np.float64]
"""Whether each query finds its report among the first ten, `[Q]`; ties count in part."""

LEVEL = 0.95


@dataclass(frozen=True)
class Queries:
    """The held-out images of one seed.

    Attributes:
        patients: Of each, `[Q]`.
        groups: Of each, `[Q]`.
    """

    patients: NDArray[np.str_]
    groups: NDArray[np.str_]

    def recall_of_each(self, hits_Q: Hits, *, least_patients: int) -> dict[str, float]:
        """Recall of each group of so many patients or more."""
        return {
            str(group): float(hits_Q[self.groups == group].mean())
            for group in np.unique(self.groups)
            if len(np.unique(self.patients[self.groups == group])) >= least_patients
        }


@dataclass(frozen=True)
class Figure:
    """A figure and the ends of its interval."""

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, float]:
        """A plain JSON object."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True, kw_only=True)
class GapFigures:
    """What one model finds, beside a reference.

    Attributes:
        recall: At 10, of all queries.
        gap: Of the group.
        kept: Its recall over the reference's.
        left: Its gap over the reference's; None where the reference's cannot be told from none.
    """

    recall: Figure
    gap: Figure
    kept: Figure
    left: Figure | None


class GapBootstrap:
    """Resamples of the patients behind some seeds' queries.

    Args:
        queries: Of each seed.
        group: Whose gap is measured.
        generator: Source of the resamples.
        num_resamples: R.
    """

    def __init__(
        self, queries: Sequence[Queries], group: str, *, generator: np.random.Generator, num_resamples: int
    ) -> None:
        everybody = np.unique(np.concatenate([one.patients for one in queries]))
        drawn_RP = generator.multinomial(len(everybody), np.full(len(everybody), 1 / len(everybody)), num_resamples)
        # The first row is nobody's resample: every patient once.
        self._times_RP = np.concatenate([np.ones((1, len(everybody))), drawn_RP])
        self._patients = [np.searchsorted(everybody, one.patients) for one in queries]
        self._of_group = [one.groups == group for one in queries]

    def figures(self, hits: Sequence[Hits], reference: Sequence[Hits]) -> GapFigures:
        """The figures of a model, from its hits and a reference's under each seed."""
        recall_R, gap_R = self._recall_and_gap(hits)
        reference_recall_R, reference_gap_R = self._recall_and_gap(reference)
        is_gap = _figure(reference_gap_R).low > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            kept_R, left_R = recall_R / reference_recall_R, gap_R / reference_gap_R
        return GapFigures(
            recall=_figure(recall_R),
            gap=_figure(gap_R),
            kept=_figure(kept_R),
            left=_figure(left_R) if is_gap else None,
        )

    def gap(self, hits: Sequence[Hits]) -> Figure:
        """How much less of the group's queries hit than of all others'."""
        return _figure(self._recall_and_gap(hits)[1])

    def odds(self, true: Sequence[Hits], false: Sequence[Hits]) -> Figure:
        """How far off equalised odds are: the greater of both gaps, whoever has less; resamples of none lie above 0.

        Args:
            true: Whether each query's right pair is found.
            false: The share of its wrong pairs that is.
        """
        return _figure(np.maximum(*(np.abs(self._recall_and_gap(hits)[1]) for hits in (true, false))))

    def _recall_and_gap(self, hits: Sequence[Hits]) -> tuple[Hits, Hits]:
        everybody = [np.ones_like(own_Q) for own_Q in self._of_group]
        others = [~own_Q for own_Q in self._of_group]
        return self._mean(hits, everybody), self._mean(hits, others) - self._mean(hits, self._of_group)

    def _mean(self, hits: Sequence[Hits], among: Sequence[NDArray[np.bool_]]) -> Hits:
        """Recall of some queries of each seed in each resample, `[R + 1]`, over the seeds."""
        pairs = zip(hits, among, strict=True)
        found_SR = np.stack([self._recall(seed, hits_Q, among_Q) for seed, (hits_Q, among_Q) in enumerate(pairs)])
        mean_R: Hits = found_SR.mean(axis=0)
        return mean_R

    def _recall(self, seed: int, hits_Q: Hits, among_Q: NDArray[np.bool_]) -> Hits:
        """Recall of some queries in each resample; where it holds none of them, that of all patients."""
        num_patients, patient_Q = self._times_RP.shape[1], self._patients[seed]
        found_P = np.bincount(patient_Q, weights=hits_Q * among_Q, minlength=num_patients)
        asked_P = np.bincount(patient_Q, weights=among_Q, minlength=num_patients)
        found_R, asked_R = self._times_RP @ found_P, self._times_RP @ asked_P
        return np.where(asked_R > 0, found_R / np.maximum(asked_R, 1), found_R[0] / max(asked_R[0], 1))


def _figure(value_R: Hits) -> Figure:
    low, high = np.quantile(value_R[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Figure(float(value_R[0]), float(low), float(high))
