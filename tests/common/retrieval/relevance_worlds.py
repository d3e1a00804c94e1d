"""Pairs whose chance to be relevant is known: what probabilities are held against in tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from common.retrieval.relevance_pairs import ScoredPairs


def truth(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The chance that a pair of a score is relevant."""
    found: NDArray[np.float64] = 1 / (1 + np.exp(-(scores - 1.0) * 1.5))
    return found


def drawn_pairs(
    num_patients: int, *, seed: int, levels: int = 40, informative: bool = True, spread: float = 0.0
) -> ScoredPairs:
    """One query and one study a patient, every pair of two patients.

    Args:
        num_patients: V.
        seed: Of the draw.
        levels: How many scores there are, as distances have.
        informative: Whether the score says anything.
        spread: How much queries and studies differ in what they are relevant to, in logits: pairs that share a patient
            then resemble each other.
    """
    generator = np.random.default_rng(seed)
    query, item = np.nonzero(~np.eye(num_patients, dtype=bool))
    scores = np.round(generator.normal(size=len(query)) * levels / 8) * 8 / levels
    logit = np.log(truth(scores) / (1 - truth(scores))) if informative else np.full(len(query), -1.0)
    logit += spread * (generator.normal(size=num_patients)[query] + generator.normal(size=num_patients)[item])
    return ScoredPairs(
        scores_M=scores,
        relevant_M=generator.random(len(query)) < 1 / (1 + np.exp(-logit)),
        queries_M=query,
        query_patients_M=query,
        item_patients_M=item,
        weights_M=np.ones(len(query)),
    )
