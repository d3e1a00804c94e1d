"""How near one has to look to see the relevant studies: split conformal prediction over patients.

Guarantee: let a new patient be exchangeable with those of the pairs, and take one of that patient's relevant pairs at
random. Its score reaches the threshold with at least the stated probability, whatever the scores are (Vovk, Gammerman
and Shafer 2005; over patients with several pairs each: Lee, Barber and Willett 2023, arXiv:2306.06342). It is a mean
over patients and over draws of the pairs, and no promise for one query. Ties make it cautious: all that score as much
as the threshold are in.

Shapes: M pairs.
"""

from __future__ import annotations

import numpy as np

from common.retrieval.relevance_pairs import ScoredPairs

COVERAGE = 0.9


def threshold(pairs: ScoredPairs, *, coverage: float = COVERAGE) -> float | None:
    """The least score of the conformal set; None where so few patients have a relevant pair that all would be in it.

    Each patient weighs 1 / (V + 1), shared by the relevant pairs, of V patients with one.

    Raises:
        ValueError: The coverage is not between 0 and 1.
    """
    if not 0 < coverage < 1:
        raise ValueError(f"coverage={coverage}: must lie between 0 and 1")
    relevant = pairs.among(pairs.relevant_M)
    if not len(relevant):
        return None
    _, patient_M = np.unique(relevant.query_patients_M, return_inverse=True)
    of_patient_V = np.bincount(patient_M, weights=relevant.weights_M)
    share_M = relevant.weights_M / of_patient_V[patient_M] / (len(of_patient_V) + 1)
    order_M = np.argsort(-relevant.scores_M, kind="stable")
    reached_M = np.cumsum(share_M[order_M])
    # A sum of shares may miss a round number by the last bits, which must not cost a whole step of the score.
    enough = np.flatnonzero(reached_M >= coverage - 1e-9)
    return float(relevant.scores_M[order_M[enough[0]]]) if len(enough) else None


def covered(pairs: ScoredPairs, least_score: float | None) -> dict[int, float]:
    """The share of each patient's relevant pairs that reach a threshold, by the patient's number.

    Args:
        pairs: The pairs.
        least_score: As `threshold` gives it; None lets all be in.
    """
    relevant = pairs.among(pairs.relevant_M)
    inside_M = np.ones(len(relevant), bool) if least_score is None else relevant.scores_M >= least_score
    numbers, patient_M = np.unique(relevant.query_patients_M, return_inverse=True)
    whole_V = np.bincount(patient_M, weights=relevant.weights_M)
    found_V = np.bincount(patient_M, weights=relevant.weights_M * inside_M)
    return {int(number): float(found / whole) for number, found, whole in zip(numbers, found_V, whole_V, strict=True)}
