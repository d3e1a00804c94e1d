"""Lines fitted to features by ridge, cross-fitted: a study is never judged by a line that saw its patient.

Least squares in place of logistic regression: the areas under the curve are the same to two digits, and because the
line is linear in the labels, a thousand exchanges of them are one matrix product; so each exchange is a full refit.

Shapes: N studies, D components, T targets, C classes, M exchanges.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from common.files import sha256_hex

NUM_FOLDS = 5
RIDGE = 30.0
"""Weight of the penalty beside components of unit spread: as if thirty studies said that there is nothing."""

Array = NDArray[np.float64]


def folds_of(patients: Sequence[str]) -> NDArray[np.int64]:
    """The fold of each study, by its patient alone, so that it is the same whatever else is audited."""
    return np.array([int(sha256_hex(f"fold {patient}".encode())[:8], 16) % NUM_FOLDS for patient in patients])


def fit(components_ND: Array, target_NT: Array) -> Array:
    """Weights `[D + 1, T]`, the last row the means."""
    centre_T = target_NT.mean(axis=0)
    gram_DD = components_ND.T @ components_ND + RIDGE * np.eye(components_ND.shape[1])
    weights_DT = np.linalg.solve(gram_DD, components_ND.T @ (target_NT - centre_T))
    return np.vstack([weights_DT, centre_T])


def cross_fitted(components_ND: Array, target_NT: Array, fold_N: NDArray[np.int64]) -> Array:
    """What the line of the other folds says of each study, less those folds' mean, `[N, T]`."""
    said_NT = np.zeros_like(target_NT, dtype=np.float64)
    for fold in np.unique(fold_N):
        own_N = fold_N == fold
        if not own_N.all():
            said_NT[own_N] = components_ND[own_N] @ fit(components_ND[~own_N], target_NT[~own_N])[:-1]
    return said_NT


def agreement(score_NM: Array, member_NM: Array) -> Array:
    """Correlation of scores and members in each column, `[M]`; 0 where one of them does not vary."""
    score_NM = score_NM - score_NM.mean(axis=0)
    member_NM = member_NM - member_NM.mean(axis=0)
    spread_M = np.sqrt((score_NM**2).sum(axis=0) * (member_NM**2).sum(axis=0))
    return np.asarray((score_NM * member_NM).sum(axis=0) / np.where(spread_M > 0, spread_M, np.inf))


def area_under_curve(score_N: Array, member_N: Array) -> float:
    """Probability that a member stands above another study, ties half (Mann and Whitney, 1947)."""
    inside = member_N.sum()
    rank_sum = (rankdata(score_N) * member_N).sum()
    return float((rank_sum - inside * (inside + 1) / 2) / max(inside * (len(score_N) - inside), 1.0))
