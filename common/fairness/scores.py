"""How well a score tells right pairs from wrong ones in a group: from noised counts of scores in public bins.

A score is the similarity of an image and a report, read as the probability that they belong together were half of all
pairs right (`common/fairness/score_scale.py`). Of each patient the scores of their *relevant* pairs (an image and its
own report) and of their *irrelevant* ones (that image and each public report) are counted in bins of that probability;
each patient counts one in either. From the two vectors:

- true and false positive rate: the share of relevant and of irrelevant scores from `OPERATING_PROBABILITY` on;
- AUROC: the probability that a relevant score is in a higher bin than an irrelevant one, half where they share a bin;
- calibration error: the mean probability that the scores state, a bin's being its middle, less the half that is right.
  Above 0 the model is too sure of a group's pairs; what scores that say nothing come to is below 0.

Intervals hold patients and noise together at `CONFIDENCE`. Rates have score intervals (`common/retrieval/paired.py`),
of a share that is taken to be a yes or no of each patient: too wide for irrelevant pairs, each patient's being a mean
over many. AUROC has the values that the counts do not refute: the patients' part is that of Hanley and McNeil (1982,
Radiology 143, doi:10.1148/radiology.143.1.7063747) with as many wrong pairs as right ones, too wide for the same
reason; the noise's holds its second order.

`PairScores` is a commutative monoid under `merge` with `zero`, up to rounding; what is merged must be disjoint in
patients and have noise of its own each. Edge cases: without a patient there is no figure; noise that drowns the counts
gives the whole range.

Shapes: B bins, T values of an AUROC that are tried.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from common.fairness.intervals import Interval
from common.retrieval.paired import CONFIDENCE, Estimate, share_of

BIN_EDGES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Between the bins of a probability; one belongs to the bin above it."""
OPERATING_PROBABILITY = 0.5
"""From it on a pair counts as found: it is more likely right than wrong."""
NUM_BINS = len(BIN_EDGES) + 1

_Z = float(ndtri((1 + CONFIDENCE) / 2))
_ENDS = (0.0, *BIN_EDGES, 1.0)
_MIDDLES_B = np.array([(low + high) / 2 for low, high in itertools.pairwise(_ENDS)])
_ABOVE_B = np.arange(NUM_BINS) > BIN_EDGES.index(OPERATING_PROBABILITY)
_HIGHER_BB = np.tril(np.ones((NUM_BINS, NUM_BINS)), -1) + np.eye(NUM_BINS) / 2
"""Whether a relevant score's bin, first, is above an irrelevant one's; half where it is the same."""
_HALF = 0.5
_TRIED = np.linspace(0.0, 1.0, 1001)
"""Values of an AUROC that the counts may refute."""


@dataclass(frozen=True)
class PairScores:
    """Counts of scores of one group, of one site or of several; noise may make some negative.

    Attributes:
        relevant: `[B]`, in patients.
        irrelevant: `[B]`, in patients.
        covariance: Of the noise in both, relevant first, `[2B, 2B]`, in patients squared.
    """

    relevant: NDArray[np.float64]
    irrelevant: NDArray[np.float64]
    covariance: NDArray[np.float64]

    @classmethod
    def zero(cls) -> PairScores:
        """Those of nobody."""
        return cls(np.zeros(NUM_BINS), np.zeros(NUM_BINS), np.zeros((2 * NUM_BINS, 2 * NUM_BINS)))

    def merge(self, other: PairScores) -> PairScores:
        """Those of both groups of patients together."""
        return PairScores(
            self.relevant + other.relevant,
            self.irrelevant + other.irrelevant,
            self.covariance + other.covariance,
        )

    @property
    def speak(self) -> bool:
        """Whether the counts speak of anybody."""
        return bool(min(self.relevant.sum(), self.irrelevant.sum()) >= 1)

    def figures(self) -> dict[str, Estimate]:
        """Each figure by the name that it has in a summary.

        Raises:
            ValueError: They speak of nobody.
        """
        return {
            "true_positive_rate": self.true_positive_rate(),
            "false_positive_rate": self.false_positive_rate(),
            "auroc": self.auroc(),
            "calibration_error": self.calibration_error(),
        }

    def true_positive_rate(self) -> Estimate:
        """Share of relevant pairs that are found.

        Raises:
            ValueError: They speak of nobody.
        """
        return share_of(self.relevant, _ABOVE_B, covariance=self.covariance[:NUM_BINS, :NUM_BINS])

    def false_positive_rate(self) -> Estimate:
        """Share of irrelevant pairs that are found.

        Raises:
            ValueError: They speak of nobody.
        """
        return share_of(self.irrelevant, _ABOVE_B, covariance=self.covariance[NUM_BINS:, NUM_BINS:])

    def auroc(self) -> Estimate:
        """Probability that a relevant pair is scored above an irrelevant one.

        Raises:
            ValueError: They speak of nobody.
        """
        num = self._checked()
        value = _cut(float(self.relevant @ _HIGHER_BB @ self.irrelevant) / num**2)
        kept = _TRIED[self._may_be(_TRIED, num)]
        if not len(kept):
            return Estimate(value=value, interval=Interval(0.0, 1.0))
        return Estimate(value=value, interval=Interval(min(float(kept[0]), value), max(float(kept[-1]), value)))

    def calibration_error(self) -> Estimate:
        """Mean probability that the scores state, less the share of pairs that are right.

        Raises:
            ValueError: They speak of nobody.
        """
        num = self._checked()
        both = np.concatenate([self.relevant, self.irrelevant])
        stated = np.tile(_MIDDLES_B, 2)
        sums = self.relevant.sum() + self.irrelevant.sum()
        mean = float(stated @ both) / sums
        # Each patient's figure is the mean of their two; their scores vary together at most.
        spread = sum(_variance(counts / num) for counts in (self.relevant, self.irrelevant)) / 2
        weights = (stated - mean) / sums
        noise = float(weights @ self.covariance @ weights)
        reach = _Z * math.sqrt(spread / num + noise)
        value = min(max(mean - _HALF, -_HALF), _HALF)
        return Estimate(value=value, interval=Interval(max(value - reach, -_HALF), min(value + reach, _HALF)))

    def _may_be(self, auroc_T: NDArray[np.float64], num: float) -> NDArray[np.bool_]:
        """Whether the counts can be those of an AUROC: what is off from it is a product of two noised vectors."""
        counts = (self.relevant, self.irrelevant)
        off_T = counts[0] @ _HIGHER_BB @ counts[1] - auroc_T * counts[0].sum() * counts[1].sum()
        higher = np.concatenate([_HIGHER_BB @ counts[1], _HIGHER_BB.T @ counts[0]])
        every = np.repeat([counts[1].sum(), counts[0].sum()], NUM_BINS)
        slope_T = higher - auroc_T[:, None] * every
        first_T = np.einsum("ti,ij,tj->t", slope_T, self.covariance, slope_T, optimize=True)
        whole_BB = np.ones((NUM_BINS, NUM_BINS))
        second_T = (
            self._second(_HIGHER_BB, _HIGHER_BB)
            - 2 * auroc_T * self._second(_HIGHER_BB, whole_BB)
            + auroc_T**2 * self._second(whole_BB, whole_BB)
        )
        # The slope is taken where the noise has moved the counts: that adds the second order once for each vector.
        noise_T = np.maximum(first_T - second_T, second_T)
        may_be: NDArray[np.bool_] = off_T**2 <= _Z**2 * (num**4 * _variance_of_auroc(auroc_T, num) + noise_T)
        return may_be

    def _second(self, one_BB: NDArray[np.float64], other_BB: NDArray[np.float64]) -> float:
        """Covariance of two products of the noise in both vectors."""
        of_relevant, of_irrelevant = self.covariance[:NUM_BINS, :NUM_BINS], self.covariance[NUM_BINS:, NUM_BINS:]
        return float(np.trace(one_BB @ of_irrelevant @ other_BB.T @ of_relevant))

    def _checked(self) -> float:
        if not self.speak:
            raise ValueError("no patient is left under the noise")
        return float(self.relevant.sum() + self.irrelevant.sum()) / 2


def _variance_of_auroc(auroc_T: NDArray[np.float64], num: float) -> NDArray[np.float64]:
    """Of `num` patients, a right and a wrong pair each."""
    above_two_T, two_above_T = auroc_T / (2 - auroc_T) - auroc_T**2, 2 * auroc_T**2 / (1 + auroc_T) - auroc_T**2
    variance_T: NDArray[np.float64] = (auroc_T * (1 - auroc_T) + (num - 1) * (above_two_T + two_above_T)) / num**2
    return variance_T


def _variance(shares_B: NDArray[np.float64]) -> float:
    """Of the probabilities that scores state, no more than any of that mean can have."""
    mean = _cut(float(_MIDDLES_B @ shares_B))
    return min(max(float(_MIDDLES_B**2 @ shares_B) - mean**2, 0.0), mean * (1 - mean))


def _cut(value: float) -> float:
    return min(max(value, 0.0), 1.0)
