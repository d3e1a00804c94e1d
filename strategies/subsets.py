"""All sets of S - f updates, for the rules that look for the best one.

Shapes: M sets, K updates in each, T points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import combinations, islice

import torch
from torch import Tensor

from common.errors import AggregationError

MOST_SETS = 50_000
SETS_AT_ONCE = 1024


def best_subset(num_points: int, num_kept: int, cost: Callable[[Tensor], Tensor]) -> Tensor:
    """Equal weights `[T]` on the set with the least cost; the first of several.

    Args:
        num_points: T.
        num_kept: K.
        cost: Costs `[M]` of sets of positions `[M, K]`.

    Raises:
        AggregationError: There are too many sets to try them all.
    """
    if (num_sets := math.comb(num_points, num_kept)) > MOST_SETS:
        raise AggregationError(
            f"{num_points} updates hold {num_sets} sets of {num_kept}, too many to try; use aggregator.name=caf"
        )
    best, least = torch.arange(num_kept), math.inf
    for sets_MK in _subsets(num_points, num_kept):
        costs_M = cost(sets_MK)
        if costs_M.min() < least:
            least, best = float(costs_M.min()), sets_MK[costs_M.argmin()]
    weights_T = torch.zeros(num_points, dtype=torch.float64)
    weights_T[best] = 1 / num_kept
    return weights_T


def _subsets(num_points: int, num_kept: int) -> Iterator[Tensor]:
    every = combinations(range(num_points), num_kept)
    while chunk := list(islice(every, SETS_AT_ONCE)):
        yield torch.tensor(chunk)
