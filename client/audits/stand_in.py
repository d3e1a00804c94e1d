"""A stand-in for a model that is yet to be trained: a line from the components of images to those of reports.

It is cross-fitted, so that a patient's studies are told by a line that did not see them. What a line can learn in a
moment, any model can: where it serves a group worse, or leans on a marker, a model will meet the same data.

Shapes: N studies, D components of images, E of reports.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client.audits.features import Components
from client.audits.linear import fit, folds_of


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """The lines of all folds, and how each study is told by the one that did not see its patient.

    Attributes:
        fold: The fold of each study, `[N]`.
        weights: Of each fold's line, `[D + 1, E]`, fitted to the other folds.
        reports: Components of the reports, `[N, E]`.
    """

    fold: NDArray[np.int64]
    weights: dict[int, Components]
    reports: Components

    def told(self, images_ND: Components) -> Components:
        """The report components that the studies' images tell, `[N, E]`."""
        told_NE = np.zeros_like(self.reports)
        for fold, weights_DE in self.weights.items():
            own_N = self.fold == fold
            told_NE[own_N] = images_ND[own_N] @ weights_DE[:-1] + weights_DE[-1]
        return told_NE

    def match(self, images_ND: Components, reports_NE: Components) -> Components:
        """Cosine of what each image tells and its report, `[N]`, both from the mean of the fold's other studies."""
        told_NE, centre_NE = self.told(images_ND), self._centre()
        return _cosine(told_NE - centre_NE, reports_NE - centre_NE)

    def rank(self, images_ND: Components, reports_NE: Components) -> Components:
        """Share of the fold's images that match each report better than its own does, `[N]`: 0 is found first.

        Args:
            images_ND: Components of the images that are searched.
            reports_NE: Components of the reports that are asked for.
        """
        told_NE, centre_NE = self.told(images_ND), self._centre()
        rank_N = np.zeros(len(self.fold))
        for fold in self.weights:
            own_N = self.fold == fold
            similar_QG = _unit(reports_NE[own_N] - centre_NE[own_N]) @ _unit(told_NE[own_N] - centre_NE[own_N]).T
            own_Q1 = np.diagonal(similar_QG)[:, None]
            rank_N[own_N] = (similar_QG > own_Q1).mean(axis=1) + 0.5 * (
                (similar_QG == own_Q1).mean(axis=1) - 1 / own_N.sum()
            )
        return rank_N

    def _centre(self) -> Components:
        centre_NE = np.zeros_like(self.reports)
        for fold, weights_DE in self.weights.items():
            centre_NE[self.fold == fold] = weights_DE[-1]
        return centre_NE


def fit_stand_in(
    images_ND: Components,
    reports_NE: Components,
    patients: tuple[str, ...],
    *,
    learns_N: NDArray[np.bool_] | None = None,
) -> StandIn:
    """Lines fitted to the studies, a fold of patients left out of each.

    Args:
        images_ND: Components of the images.
        reports_NE: Components of the reports.
        patients: The patient of each study.
        learns_N: Studies that the lines may learn from; all where it is left out.
    """
    fold_N = folds_of(patients)
    may_N = np.ones(len(fold_N), dtype=bool) if learns_N is None else learns_N
    weights = {
        int(fold): fit(images_ND[may_N & (fold_N != fold)], reports_NE[may_N & (fold_N != fold)])
        for fold in np.unique(fold_N)
        if (may_N & (fold_N != fold)).any()
    }
    return StandIn(fold=fold_N, weights=weights, reports=reports_NE)


def _unit(vector_NE: Components) -> Components:
    return np.asarray(vector_NE / np.maximum(np.linalg.norm(vector_NE, axis=1, keepdims=True), 1e-12))


def _cosine(one_NE: Components, other_NE: Components) -> Components:
    return np.asarray((_unit(one_NE) * _unit(other_NE)).sum(axis=1))
