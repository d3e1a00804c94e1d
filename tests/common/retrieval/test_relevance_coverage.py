"""The conformal set holds a new patient's relevant pair as often as it says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from common.retrieval.relevance_coverage import covered, threshold
from common.retrieval.relevance_pairs import ScoredPairs

DRAWS, NUM_PATIENTS = 2000, 30


def relevant_pairs(scores: np.ndarray, patients: np.ndarray) -> ScoredPairs:
    return ScoredPairs(
        scores_M=scores,
        relevant_M=np.ones(len(scores), bool),
        queries_M=patients,
        query_patients_M=patients,
        item_patients_M=patients,
        weights_M=np.ones(len(scores)),
    )


def world(generator: np.random.Generator, num_patients: int) -> ScoredPairs:
    """Patients with one to six relevant pairs each, whose scores resemble one another; who has many scores low."""
    sizes = generator.integers(1, 7, num_patients)
    patients = np.repeat(np.arange(num_patients), sizes)
    scores = (
        generator.normal(size=num_patients)[patients]
        - 0.5 * sizes[patients]
        + 0.3 * generator.normal(size=len(patients))
    )
    return relevant_pairs(scores, patients)


def held(generator: np.random.Generator, least: float | None) -> bool:
    """Whether the set holds one random relevant pair of a new patient."""
    new = world(generator, 1)
    return least is None or bool(generator.choice(new.scores_M) >= least)


@pytest.mark.parametrize("coverage", [0.5, 0.9])
def test_coverage_is_what_is_said(coverage: float) -> None:
    """Of 2,000 draws of 30 patients, as exact as split conformal sets without ties are.

    That is between the coverage and 1 / (30 + 1) more, and 3.3 deviations of the share beside it (alpha .001).
    """
    generator = np.random.default_rng(5)
    share = np.mean(
        [held(generator, threshold(world(generator, NUM_PATIENTS), coverage=coverage)) for _ in range(DRAWS)]
    )
    slack = 3.3 * math.sqrt(coverage * (1 - coverage) / DRAWS)
    assert coverage - slack <= share <= coverage + 1 / (NUM_PATIENTS + 1) + slack


def test_pairs_counted_alike_would_miss_it() -> None:
    """The broken variant: a quantile over pairs, so that patients with many count more, here with lower scores."""
    generator = np.random.default_rng(6)
    sets = (np.quantile(world(generator, NUM_PATIENTS).scores_M, 0.5, method="lower") for _ in range(DRAWS))
    share = np.mean([held(generator, float(least)) for least in sets])
    assert abs(share - 0.5) > 0.05


def test_too_few_patients_let_all_be_in() -> None:
    pairs = relevant_pairs(np.array([1.0, 2.0, 3.0]), np.arange(3))
    assert threshold(pairs, coverage=0.9) is None
    assert threshold(pairs, coverage=0.75) == 1.0, "three of four are exactly enough"
    assert threshold(pairs.among(np.zeros(3, bool)), coverage=0.5) is None
    assert covered(pairs, None) == {0: 1.0, 1: 1.0, 2: 1.0}
    assert covered(pairs, 2.0) == {0: 0.0, 1: 1.0, 2: 1.0}
    with pytest.raises(ValueError, match="between 0 and 1"):
        threshold(pairs, coverage=1.0)
