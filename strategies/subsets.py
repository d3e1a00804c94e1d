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


def best_subset(num_points: int, num_kept: int, cost: Callable[[Tensor], tuple[Tensor, ...]]) -> Tensor:
    """Equal weights `[T]` on the set with the least cost; the first of several.

    Args:
        num_points: T.
        num_kept: K.
        cost: Costs of sets of positions `[M, K]`, a column each `[M]`; a later one only decides between equals.

    Raises:
        AggregationError: There are too many sets to try them all.
    """
    if (num_sets := math.comb(num_points, num_kept)) > MOST_SETS:
        raise AggregationError(
            f"{num_points} updates hold {num_sets} sets of {num_kept}, too many to try; use aggregator.name=caf"
        )
    candidates = (_least(sets_MK, cost(sets_MK)) for sets_MK in _subsets(num_points, num_kept))
    _, best_K = min(candidates, key=lambda found: found[0])
    weights_T = torch.zeros(num_points, dtype=torch.float64)
    weights_T[best_K] = 1 / num_kept
    return weights_T


def _least(sets_MK: Tensor, costs: tuple[Tensor, ...]) -> tuple[tuple[float, ...], Tensor]:
    """The costs of the best set, and the set."""
    left_M = torch.arange(len(sets_MK))
    for cost_M in costs:
        left_M = left_M[cost_M[left_M] == cost_M[left_M].min()]
    return tuple(float(cost_M[left_M[0]]) for cost_M in costs), sets_MK[left_M[0]]


def _subsets(num_points: int, num_kept: int) -> Iterator[Tensor]:
    every = combinations(range(num_points), num_kept)
    while chunk := list(islice(every, SETS_AT_ONCE)):
        yield torch.tensor(chunk)
