"""A similarity as a probability, by public pairs alone: a logistic curve through them (Platt 1999).

Public pairs: images of public studies with their own reports, and with other public patients' reports; both kinds weigh
the same. So nothing of a patient is in the scale, and every site that has the same model and public studies has the
same one. Edge cases: similarities that are no numbers count as the least; where the public pairs do not show that a
similar pair is likelier right, every pair has the probability one half.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

_LEAST_SIMILARITY = -1.0


@dataclass(frozen=True)
class ScoreScale:
    """The curve.

    Attributes:
        slope: Of the log odds, never negative.
        offset: Of the log odds.
    """

    slope: float
    offset: float

    @classmethod
    def of_pairs(cls, relevant: NDArray[np.float64], irrelevant: NDArray[np.float64]) -> ScoreScale:
        """The curve through public pairs.

        Args:
            relevant: Similarities of an image and its own report, at least one.
            irrelevant: Similarities of an image and another patient's, at least one.
        """
        from sklearn.linear_model import LogisticRegression  # slow to import, and few runs tell scores

        similarity = _numbers(np.concatenate([relevant, irrelevant]))
        is_right = np.concatenate([np.ones(len(relevant)), np.zeros(len(irrelevant))])
        mean, deviation = float(similarity.mean()), float(similarity.std())
        if deviation == 0:
            return cls(0.0, 0.0)
        # In units of their deviation, so that the curve is held back alike whatever the similarities' range.
        fitted = LogisticRegression(class_weight="balanced").fit((similarity[:, None] - mean) / deviation, is_right)
        slope = float(fitted.coef_[0, 0]) / deviation
        return cls(slope, float(fitted.intercept_[0]) - slope * mean) if slope > 0 else cls(0.0, 0.0)

    def probability(self, similarity: NDArray[np.float64]) -> NDArray[np.float64]:
        """That pairs of a similarity are right, of the same form."""
        probability: NDArray[np.float64] = expit(self.slope * _numbers(similarity) + self.offset)
        return probability


def _numbers(similarity: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.nan_to_num(similarity, nan=_LEAST_SIMILARITY, posinf=1.0, neginf=_LEAST_SIMILARITY)
