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


def cross_fitted_without(
    components_ND: Array, target_NT: Array, fold_N: NDArray[np.int64], left_out_MN: Array
) -> tuple[Array, Array]:
    """What lines say that learnt from neither a study's fold nor any study left out, and what is true, `[M, N, T]`.

    Both less the mean of what the line learnt from. Each of M choices is a full refit: a fold's share of the normal
    equations is summed once, and the line of the others solves what is left of all.

    Args:
        components_ND: Components of the studies.
        target_NT: What is to be told.
        fold_N: The fold of each.
        left_out_MN: Ones where a choice leaves a study out.
    """
    num_D, learns_MN = components_ND.shape[1], 1.0 - left_out_MN
    known_NX = np.hstack([components_ND, target_NT, np.ones((len(fold_N), 1))])
    folds = [fold_N == fold for fold in np.unique(fold_N)]
    shares = [_sums(known_NX[own_N], learns_MN[:, own_N]) for own_N in folds]
    total_MXX = np.sum(shares, axis=0)
    said_MNT, true_MNT = (np.zeros((*left_out_MN.shape, target_NT.shape[1])) for _ in range(2))
    for own_N, share_MXX in zip(folds, shares, strict=True):
        sums_MXX = total_MXX - share_MXX
        centre_M1T = sums_MXX[:, -1:, num_D:-1] / np.maximum(sums_MXX[:, -1:, -1:], 1.0)
        gram_MDD = sums_MXX[:, :num_D, :num_D] + RIDGE * np.eye(num_D)
        cross_MDT = sums_MXX[:, :num_D, num_D:-1] - sums_MXX[:, :num_D, -1:] * centre_M1T
        said_MNT[:, own_N] = components_ND[own_N] @ np.linalg.solve(gram_MDD, cross_MDT)
        true_MNT[:, own_N] = target_NT[own_N] - centre_M1T
    return said_MNT, true_MNT


def _sums(known_NX: Array, learns_MN: Array) -> Array:
    """Sums of products over the studies that each choice learns from, `[M, X, X]`."""
    return np.stack([(known_NX * learns_N[:, None]).T @ known_NX for learns_N in learns_MN])


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
