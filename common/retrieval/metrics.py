"""Retrieval metrics of scores with ties: the exact mean over every order of tied items.

Codes of 64 bits have 65 distances, so a gallery of any size is full of ties, and a metric that breaks them by
position rewards whoever ordered the gallery. Here each metric is its expectation when tied items stand in
uniformly random order, computed in closed form, not drawn.

In a block of n tied items with r relevant ones, below a items of which b are relevant:

* Given that no relevant item came before, the item in place j of the block is relevant with probability
  r / (n - j + 1). That hazard gives the distribution of the rank of the first relevant item, hence recall
  (its mass up to k, one minus a hypergeometric probability) and reciprocal rank (the mean of 1 / rank).
* Average precision is the sum over places of (r / n) (b + 1 + (j - 1) (r - 1) / (n - 1)) / (a + j), divided
  by the number of relevant items: McSherry and Najork (2008), ECIR, doi:10.1007/978-3-540-78646-7_38.

Scores tie when they are equal, digit for digit.

Shapes: Q queries, G gallery.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RECALL_DEPTHS = (1, 5, 10)
METRIC_NAMES = (*(f"recall_at_{k}" for k in RECALL_DEPTHS), "mrr", "map")

_QUERIES_AT_ONCE = 128
"""Bounds the working memory to about ten such rows of float64, whatever the number of queries."""


def retrieval_metrics(
    scores_QG: NDArray[np.number], relevant_QG: NDArray[np.bool_]
) -> Mapping[str, NDArray[np.float64]]:
    """Metrics of each query, averaged exactly over the orders of tied items.

    Args:
        scores_QG: Larger is more similar.
        relevant_QG: Which gallery items answer which query; several may.

    Returns:
        For each of `METRIC_NAMES`, one value in [0, 1] a query, `[Q]`. `recall_at_k` is 1 where any relevant
        item stands among the first k; `map` is the average precision, whose mean over queries is the MAP.

    Raises:
        ValueError: The shapes differ, a score is NaN, or a query has no relevant item.
    """
    _check(scores_QG, relevant_QG)
    values_MQ = np.empty((len(METRIC_NAMES), len(scores_QG)))
    for start in range(0, len(scores_QG), _QUERIES_AT_ONCE):
        rows = slice(start, start + _QUERIES_AT_ONCE)
        ranking = _Ranking.of(scores_QG[rows], relevant_QG[rows])
        values_MQ[:, rows] = _metrics(ranking)
    return dict(zip(METRIC_NAMES, values_MQ, strict=True))


def average_precision_at(k: int, scores_QG: NDArray[np.number], relevant_QG: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Average precision of the first k items, averaged exactly over the orders of tied items, `[Q]`.

    The sum of the precisions at the relevant items among the first k, over the most of them that k places can hold;
    with k the gallery's size it is the `map` of `retrieval_metrics`.

    Raises:
        ValueError: k is below 1, or as `retrieval_metrics`.
    """
    if k < 1:
        raise ValueError(f"k={k}: a depth is 1 or more")
    _check(scores_QG, relevant_QG)
    most_Q = np.minimum(relevant_QG.sum(axis=1), k)
    gain_Q = np.empty(len(scores_QG))
    for start in range(0, len(scores_QG), _QUERIES_AT_ONCE):
        rows = slice(start, start + _QUERIES_AT_ONCE)
        gain_Q[rows] = _precision_gain(_Ranking.of(scores_QG[rows], relevant_QG[rows]))[:, :k].sum(axis=1)
    average_Q: NDArray[np.float64] = (gain_Q / most_Q).clip(max=1.0)
    return average_Q


def chance_recall_at(k: int, relevant_QG: NDArray[np.bool_]) -> float:
    """Mean recall at k of a ranking that knows nothing: the exact expectation over all orders of the gallery.

    A query misses with the hypergeometric probability that k draws without return hold no relevant item.

    Raises:
        ValueError: k is below 1, there is no query, or a query has no relevant item.
    """
    _check_relevance(relevant_QG)
    num_queries, gallery = relevant_QG.shape
    if k < 1 or num_queries == 0:
        raise ValueError(f"chance recall needs k of 1 or more and a query; got k={k} and {num_queries} queries")
    irrelevant_Q = gallery - relevant_QG.sum(axis=1)
    drawn = np.arange(min(k, gallery))
    miss_Qk = np.maximum(irrelevant_Q[:, None] - drawn, 0) / (gallery - drawn)
    return float(np.mean(1.0 - miss_Qk.prod(axis=1)))


@dataclass(frozen=True, slots=True, eq=False)
class _Ranking:
    """Each ranked position, `[Q, G]`, seen through its block of ties.

    Attributes:
        place: Place within the block, from 1.
        size: Items in the block (n).
        relevant: Relevant items in the block (r).
        relevant_above: Relevant items in the blocks above (b).
    """

    place: NDArray[np.int64]
    size: NDArray[np.int64]
    relevant: NDArray[np.int64]
    relevant_above: NDArray[np.int64]

    @classmethod
    def of(cls, scores_QG: NDArray[np.number], relevant_QG: NDArray[np.bool_]) -> _Ranking:
        order_QG = np.argsort(scores_QG, axis=1)[:, ::-1]
        score_QG = np.take_along_axis(scores_QG, order_QG, axis=1)
        edge = np.ones((len(score_QG), 1), dtype=bool)
        differs = score_QG[:, 1:] != score_QG[:, :-1]
        position = np.arange(score_QG.shape[1])
        last = len(position) - 1
        first_QG = np.maximum.accumulate(np.where(np.hstack((edge, differs)), position, 0), axis=1)
        ends = np.where(np.hstack((differs, edge)), position, last)
        last_QG = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
        # found[:, i] relevant items stand above position i.
        found = np.zeros((len(score_QG), len(position) + 1), dtype=np.int64)
        np.cumsum(np.take_along_axis(relevant_QG, order_QG, axis=1), axis=1, out=found[:, 1:])
        relevant_above = np.take_along_axis(found, first_QG, axis=1)
        return cls(
            place=position - first_QG + 1,
            size=last_QG - first_QG + 1,
            relevant=np.take_along_axis(found, last_QG + 1, axis=1) - relevant_above,
            relevant_above=relevant_above,
        )


def _metrics(ranking: _Ranking) -> NDArray[np.float64]:
    """The metrics in the order of `METRIC_NAMES`, `[M, Q]`."""
    rank = np.arange(1, ranking.size.shape[1] + 1)
    total_Q = ranking.relevant_above[:, -1] + ranking.relevant[:, -1]
    first_QG = _first_relevant(ranking)
    recall = [first_QG[:, :k].sum(axis=1) for k in RECALL_DEPTHS]
    # No product by BLAS: it would depend on the other queries, in the last bit.
    reciprocal_rank = (first_QG / rank).sum(axis=1)
    values_MQ: NDArray[np.float64] = np.stack(
        [*recall, reciprocal_rank, _precision_gain(ranking).sum(axis=1) / total_Q]
    )
    return values_MQ.clip(max=1.0)  # sums of probabilities may pass 1 by a rounding error


def _first_relevant(ranking: _Ranking) -> NDArray[np.float64]:
    """Probability that the first relevant item stands at each rank, `[Q, G]`; a row sums to 1.

    The hazard reaches exactly 1 in the first block that holds a relevant item, at its last possible place, so
    nothing survives into later blocks and they need no mask.
    """
    hazard: NDArray[np.float64] = np.minimum(ranking.relevant / (ranking.size - ranking.place + 1), 1.0)
    survival = np.cumprod(1.0 - hazard, axis=1)
    hazard[:, 1:] *= survival[:, :-1]
    return hazard


def _precision_gain(ranking: _Ranking) -> NDArray[np.float64]:
    """What each rank is expected to add to the sum of precisions at relevant items, `[Q, G]`."""
    rank = np.arange(1, ranking.size.shape[1] + 1)
    others_above = (ranking.place - 1) * (ranking.relevant - 1) / np.maximum(ranking.size - 1, 1)
    precision = (ranking.relevant_above + 1 + others_above) / rank
    gain_QG: NDArray[np.float64] = ranking.relevant / ranking.size * precision
    return gain_QG


def _check(scores_QG: NDArray[np.number], relevant_QG: NDArray[np.bool_]) -> None:
    _check_relevance(relevant_QG)
    if scores_QG.shape != relevant_QG.shape:
        raise ValueError(f"scores {scores_QG.shape} and relevance {relevant_QG.shape} must have one shape, [Q, G]")
    if np.isnan(scores_QG).any():
        raise ValueError("scores hold NaN, which has no rank; drop the study or the model that made it")


def _check_relevance(relevant_QG: NDArray[np.bool_]) -> None:
    if relevant_QG.ndim != 2 or relevant_QG.dtype != np.bool_:
        raise ValueError(f"relevance must be bool of shape [Q, G], not {relevant_QG.dtype} {relevant_QG.shape}")
    answered_Q = relevant_QG.any(axis=1)
    if not answered_Q.all():
        raise ValueError(f"query {int(np.argmin(answered_Q))} has no relevant item in the gallery; leave it out")
