"""A threshold of each group's own on the score of a pair: equalised odds (Hardt et al. 2016, arXiv 1610.02413).

At one threshold for all (`OPERATING_PROBABILITY`) the right pairs of some groups are found less often than those of
others, or their wrong pairs oftener. A group's own threshold here is the one at which its true and false positive rates
come nearest to those that all groups together have at the public one: the greater of the two distances is least. One
threshold has one degree of freedom, so that both rates are met only where the groups' curves meet there. A coin between
two thresholds could meet both; that is left out on purpose: the same pair must always get the same answer.

It moves a decision about a pair, and no rank: what is among the first ten of a search stays there.

Everything is read off counts that were told with noise (`common/fairness/scores.py`): post-processing, which costs
nobody anything. Between the edges of a bin scores are taken to be spread evenly. Intervals hold patients and noise at
`CONFIDENCE`. Edge case: a group of few patients keeps the public threshold, and its interval is the whole range.

Shapes: B bins, T thresholds that are tried, R draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.fairness.intervals import Interval
from common.fairness.scores import BIN_EDGES, NUM_BINS, OPERATING_PROBABILITY, PairScores
from common.retrieval.paired import CONFIDENCE

NUM_DRAWS = 500
_NOBODY = 1e-12
"""Patients that a sum is at least taken for, so that none can be divided by."""
_ENDS = np.array([0.0, *BIN_EDGES, 1.0])
_TRIED_T = np.linspace(0.0, 1.0, 201)
_BY_DISTANCE = np.argsort(np.abs(_TRIED_T - OPERATING_PROBABILITY), kind="stable")
"""Thresholds in the order in which they are tried: of two that do as well, the nearer to the public one wins."""
_PUBLIC = int(_BY_DISTANCE[0])
_ABOVE_BT = np.clip((_ENDS[1:, None] - _TRIED_T) / np.diff(_ENDS)[:, None], 0.0, 1.0)
"""The share of a bin that lies from a threshold on."""


@dataclass(frozen=True)
class GroupThreshold:
    """From which probability on a group's pair counts as found.

    Attributes:
        value: The threshold.
        interval: Of it.
    """

    value: float
    interval: Interval

    def as_json(self) -> dict[str, float]:
        """A plain JSON object."""
        return {"value": self.value, **self.interval.as_json()}


def thresholds_of(
    scores: Mapping[str, PairScores], *, least_patients: float, generator: np.random.Generator
) -> dict[str, GroupThreshold]:
    """The threshold of each group.

    Args:
        scores: Told counts of each group; no patient is in two of them.
        least_patients: A group of fewer, as far as the counts say, keeps the public threshold.
        generator: Source of the draws behind the intervals; it needs no secrecy.
    """
    told = {name: np.concatenate([one.relevant, one.irrelevant]) for name, one in scores.items()}
    drawn = {name: _drawn(one, generator) for name, one in scores.items()}
    values, drawn_values = _values(told), _values(drawn)
    return {
        name: GroupThreshold(float(values[name]), _interval(drawn_values[name], float(values[name])))
        if min(one.relevant.sum(), one.irrelevant.sum()) >= least_patients
        else GroupThreshold(OPERATING_PROBABILITY, Interval(0.0, 1.0))
        for name, one in scores.items()
    }


def _values(counts: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """The best threshold of each group's counts `[..., 2B]`, `[...]`."""
    together = np.maximum(sum(counts.values(), start=np.zeros(2 * NUM_BINS)), 0.0)
    aim_K1 = _rates(together)[..., _PUBLIC, None]
    found = {}
    for name, own in counts.items():
        off_T = np.abs(_rates(np.maximum(own, 0.0)) - aim_K1).max(axis=0)
        found[name] = _TRIED_T[_BY_DISTANCE][off_T[..., _BY_DISTANCE].argmin(axis=-1)]
    return found


def _rates(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """True and false positive rates at each threshold, `[2, ..., T]`."""
    return np.stack([_above(counts[..., :NUM_BINS]), _above(counts[..., NUM_BINS:])])


def _above(counts_B: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of counts `[..., B]` from each threshold on, `[..., T]`; of none, none."""
    shares_B = counts_B / np.maximum(counts_B.sum(axis=-1, keepdims=True), _NOBODY)
    above_T: NDArray[np.float64] = shares_B @ _ABOVE_BT
    return above_T


def _drawn(scores: PairScores, generator: np.random.Generator) -> NDArray[np.float64]:
    """Counts as other patients of the group and other noise would have made them, `[R, 2B]`."""
    patients = np.zeros((2 * NUM_BINS, 2 * NUM_BINS))
    told = np.concatenate([scores.relevant, scores.irrelevant])
    for part in (slice(0, NUM_BINS), slice(NUM_BINS, None)):
        counts = np.maximum(told[part], 0.0)
        patients[part, part] = np.diag(counts) - np.outer(counts, counts) / max(counts.sum(), 1.0)
    return generator.multivariate_normal(told, patients + scores.covariance, NUM_DRAWS, method="eigh")


def _interval(drawn_R: NDArray[np.float64], value: float) -> Interval:
    low, high = np.quantile(drawn_R, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(min(float(low), value), max(float(high), value))
