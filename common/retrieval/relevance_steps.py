"""How likely a study is relevant at a score: a monotone staircase, of steps that enough pairs stand on.

Isotonic regression (Ayer et al. 1955; Zadrozny and Elkan 2002, KDD, doi:10.1145/775047.775151): of all functions that
never fall as the score grows, the one nearest to the pairs. Its ends are its weak side: a few lucky pairs at the top
are a step of their own, of probability one. So a step takes in the next one until it stands on `LEAST_PAIRS` pairs of
`LEAST_PATIENTS` patients; it stays monotone, for a mean of neighbours lies between them.

Shapes: M pairs, S steps, L levels of the score.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from common.retrieval.relevance_pairs import ScoredPairs

LEAST_PAIRS = 100
"""That a step stands on."""
LEAST_PATIENTS = 10
"""Patients whose queries they are: many pairs of one patient tell little."""


@dataclass(frozen=True, eq=False)
class Steps:
    """A staircase from scores to probabilities.

    Attributes:
        least_S: The smallest score that was seen on each step, ascending.
        most_S: The largest.
        probability_S: Of each step, never falling.
    """

    least_S: NDArray[np.float64]
    most_S: NDArray[np.float64]
    probability_S: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.least_S)

    def step_of(self, scores_M: NDArray[np.float64]) -> NDArray[np.int64]:
        """The step of each score, the highest that begins no later; of a score below all, the lowest."""
        found_M: NDArray[np.int64] = np.searchsorted(self.least_S, scores_M, side="right") - 1
        return np.maximum(found_M, 0)

    def of(self, scores_M: NDArray[np.float64]) -> NDArray[np.float64]:
        """The probability at each score.

        Raises:
            ValueError: There is no step.
        """
        if not len(self):
            raise ValueError("too few pairs for a single step; ask for its length first")
        return self.probability_S[self.step_of(scores_M)]


def fit_steps(pairs: ScoredPairs, *, least_pairs: int = LEAST_PAIRS, least_patients: int = LEAST_PATIENTS) -> Steps:
    """The staircase of some pairs; without a step where all of them are too few for one."""
    levels_L, level_M = np.unique(pairs.scores_M, return_inverse=True)
    weight_L = np.bincount(level_M, weights=pairs.weights_M)
    relevant_L = np.bincount(level_M, weights=pairs.weights_M * pairs.relevant_M)
    if not len(levels_L):
        return Steps(levels_L, levels_L, levels_L)
    isotonic = IsotonicRegression(y_min=0, y_max=1).fit(levels_L, relevant_L / weight_L, sample_weight=weight_L)
    fitted_L = isotonic.predict(levels_L)
    step_L = np.r_[0, np.cumsum(np.diff(fitted_L) > 0)]
    step_L = _supported(step_L, level_M, pairs, least_pairs=least_pairs, least_patients=least_patients)
    starts = np.flatnonzero(np.r_[True, np.diff(step_L) != 0])
    if step_L[0] < 0:
        return Steps(*(np.empty(0),) * 3)
    weight_S, relevant_S = (np.add.reduceat(counted, starts) for counted in (weight_L, relevant_L))
    return Steps(levels_L[starts], levels_L[np.r_[starts[1:], len(levels_L)] - 1], relevant_S / weight_S)


def _supported(
    step_L: NDArray[np.int64], level_M: NDArray[np.int64], pairs: ScoredPairs, *, least_pairs: int, least_patients: int
) -> NDArray[np.int64]:
    """Numbers of the steps after each has taken in the next lower ones until it is supported; -1 where none is."""
    num_steps = int(step_L[-1]) + 1
    _, patient_M = np.unique(pairs.query_patients_M, return_inverse=True)
    counts_SV = np.zeros((num_steps, int(patient_M.max()) + 1), dtype=np.int64)
    np.add.at(counts_SV, (step_L[level_M], patient_M), 1)
    merged_S, current, held_V = np.empty(num_steps, np.int64), 0, np.zeros(counts_SV.shape[1], np.int64)
    for step in range(num_steps - 1, -1, -1):
        held_V = held_V + counts_SV[step]
        merged_S[step] = current
        if held_V.sum() >= least_pairs and np.count_nonzero(held_V) >= least_patients:
            current, held_V = current + 1, np.zeros_like(held_V)
    # What is left at the lower end is too little for a step of its own: it joins the last one.
    merged_S = np.minimum(merged_S, current - 1)
    return merged_S[step_L]
