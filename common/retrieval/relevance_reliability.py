"""Whether a probability of relevance keeps its word: measured on pairs that it was not fitted to.

The patients are cut into folds. The pairs within a fold are told their probability by a staircase that was fitted to
the pairs within all other folds: it saw neither of their two patients. What is told is then held against what was so,
in bins of what was told (Niculescu-Mizil and Caruana 2005, ICML, doi:10.1145/1102351.1102430); the mean distance of
both is the expected calibration error (Naeini et al. 2015, AAAI; Guo et al. 2017, arXiv:1706.04599). It is measured
over all pairs and over the first hits of each query: those are what a person sees, and few of all.

Intervals draw patients with all their pairs, on both sides of a pair (the pigeonhole bootstrap, Owen 2007,
arXiv:0712.1111), which is cautious rather than short. Where all pairs agree no draw differs; there Wilson's interval
stands, each patient counted once.

Shapes: M pairs, B bins, V patients, R resamples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.fairness.intervals import Interval
from common.retrieval.paired import rate_of
from common.retrieval.relevance import Point
from common.retrieval.relevance_coverage import COVERAGE, covered, threshold
from common.retrieval.relevance_pairs import ScoredPairs
from common.retrieval.relevance_steps import LEAST_PAIRS, fit_steps

MOST_FOLDS = 5
LEAST_FOLD = 10
"""Patients in a fold."""
NUM_BINS = 20
FIRST_HITS = 10
RESAMPLES = 400
LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """What was told against what was so.

    Attributes:
        points: With enough pairs to be shown, in the order of what was told.
        error: Expected calibration error, over all pairs.
        error_of_hits: The same over the first hits of each query.
        coverage: Share of relevant pairs that the conformal set held, mean over patients.
    """

    points: tuple[Point, ...]
    error: float
    error_of_hits: float
    coverage: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Told:
    """Pairs, each with the probability that it was told.

    Attributes:
        pairs: The pairs.
        probability_M: Of each.
        coverage: Share of relevant pairs in the conformal sets, mean over patients.
    """

    pairs: ScoredPairs
    probability_M: NDArray[np.float64]
    coverage: float


def folds_of(patients: NDArray[np.int64], generator: np.random.Generator) -> list[NDArray[np.int64]]:
    """The patients in folds by chance; fewer than two folds where there are too few of them."""
    num_folds = min(MOST_FOLDS, len(patients) // LEAST_FOLD)
    return [np.sort(fold) for fold in np.array_split(generator.permutation(patients), max(num_folds, 1))]


def cross_told(pairs: ScoredPairs, generator: np.random.Generator) -> Told | None:
    """What pairs are told by those that they share no patient with; None where they are too few."""
    folds = folds_of(pairs.patients, generator)
    parts: list[tuple[ScoredPairs, NDArray[np.float64]]] = []
    covered_of: dict[int, float] = {}
    for fold in folds if len(folds) > 1 else []:
        others = pairs.within(np.setdiff1d(pairs.patients, fold))
        steps, held = fit_steps(others), pairs.within(fold)
        if not len(steps):
            return None
        parts.append((held, steps.of(held.scores_M)))
        covered_of |= covered(held, threshold(others, coverage=COVERAGE))
    if not covered_of:
        return None
    columns = {name: np.concatenate([vars(held)[name] for held, _ in parts]) for name in vars(pairs)}
    return Told(
        pairs=ScoredPairs(**columns),
        probability_M=np.concatenate([probability_M for _, probability_M in parts]),
        coverage=float(np.mean(list(covered_of.values()))),
    )


def reliability_of(told: Told, generator: np.random.Generator) -> Reliability:
    """What was told against what was so."""
    pairs, bin_M = told.pairs, _bins(told.probability_M)
    intervals = rates_with_intervals(pairs, bin_M, NUM_BINS, generator)
    weight_B = np.bincount(bin_M, weights=pairs.weights_M, minlength=NUM_BINS)
    told_B = np.bincount(bin_M, weights=pairs.weights_M * told.probability_M, minlength=NUM_BINS)
    num_B = np.bincount(bin_M, minlength=NUM_BINS)
    points = tuple(
        Point(
            told=float(told_B[i] / weight_B[i]),
            found=intervals[i][0],
            low=intervals[i][1].low,
            high=intervals[i][1].high,
            num_pairs=int(num_B[i]),
        )
        for i in map(int, np.flatnonzero(num_B >= LEAST_PAIRS))
    )
    first_M = pairs.are_first(FIRST_HITS)
    return Reliability(
        points=points,
        error=calibration_error(pairs, told.probability_M),
        error_of_hits=calibration_error(pairs.among(first_M), told.probability_M[first_M]),
        coverage=told.coverage,
    )


def calibration_error(pairs: ScoredPairs, probability_M: NDArray[np.float64]) -> float:
    """Expected calibration error of probabilities that pairs are told, in bins of equal width."""
    bin_M = _bins(probability_M)
    gap_B = np.bincount(bin_M, weights=pairs.weights_M * (probability_M - pairs.relevant_M), minlength=NUM_BINS)
    return float(np.abs(gap_B).sum() / pairs.weights_M.sum())


def rates_with_intervals(
    pairs: ScoredPairs, group_M: NDArray[np.int64], num_groups: int, generator: np.random.Generator
) -> dict[int, tuple[float, Interval]]:
    """Share of relevant pairs in each group that has any, with its interval over patients.

    Args:
        pairs: The pairs.
        group_M: Number of the group of each, from 0.
        num_groups: How many groups there are.
        generator: Of the resamples.
    """
    numbers = pairs.patients
    times_RV = generator.multinomial(len(numbers), np.full(len(numbers), 1 / len(numbers)), size=RESAMPLES)
    query_M, item_M = (np.searchsorted(numbers, of) for of in (pairs.query_patients_M, pairs.item_patients_M))
    found: dict[int, tuple[float, Interval]] = {}
    for group in range(num_groups):
        rows = np.flatnonzero(group_M == group)
        if not len(rows):
            continue
        weights, relevant = pairs.weights_M[rows], pairs.relevant_M[rows]
        value = float(weights @ relevant / weights.sum())
        sums_R2 = [
            _resampled(times_RV.astype(np.float64), query_M[rows], item_M[rows], counted)
            for counted in (weights * relevant, weights)
        ]
        drawn_R = sums_R2[0][sums_R2[1] > 0] / sums_R2[1][sums_R2[1] > 0]
        low, high = np.quantile(drawn_R, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if len(drawn_R) else (value, value)
        interval = Interval(min(float(low), value), max(float(high), value))
        if interval.low == interval.high:
            num_patients = len(np.unique(query_M[rows]))
            interval = rate_of(value, num_patients=num_patients, noise=(0.0, 0.0, 0.0), variance=0.0).interval
        found[group] = (value, interval)
    return found


def _resampled(
    times_RV: NDArray[np.float64], query_M: NDArray[np.int64], item_M: NDArray[np.int64], counted_M: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sum of what is counted in each resample `[R]`: a pair counts as often as both its patients were drawn."""
    num = times_RV.shape[1]
    own_M = query_M == item_M
    cells_VV = np.bincount(query_M[~own_M] * num + item_M[~own_M], weights=counted_M[~own_M], minlength=num * num)
    own_V = np.bincount(query_M[own_M], weights=counted_M[own_M], minlength=num)
    of_two_R: NDArray[np.float64] = ((times_RV @ cells_VV.reshape(num, num)) * times_RV).sum(axis=1)
    return of_two_R + times_RV @ own_V


def _bins(probability_M: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.minimum((probability_M * NUM_BINS).astype(np.int64), NUM_BINS - 1)
