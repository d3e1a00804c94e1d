"""The staircase: monotone, the nearest to the pairs that is, and never on too few of them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.retrieval.relevance_pairs import ScoredPairs
from common.retrieval.relevance_steps import LEAST_PAIRS, LEAST_PATIENTS, fit_steps
from tests.common.retrieval.relevance_worlds import drawn_pairs, truth

Row = tuple[int, bool, int]
"""Score, whether relevant, patient."""
rows_drawn = st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.integers(0, 5)), min_size=1, max_size=60)


def pairs_from(rows: list[Row]) -> ScoredPairs:
    scores, relevant, patients = (np.array(column) for column in zip(*rows, strict=True))
    return ScoredPairs(
        scores_M=scores.astype(float),
        relevant_M=relevant,
        queries_M=patients,
        query_patients_M=patients,
        item_patients_M=patients + 100,
        weights_M=np.ones(len(rows)),
    )


def isotonic(rows: list[Row]) -> dict[int, Fraction]:
    """The least-squares monotone fit by its max-min formula (Robertson et al. 1988), in exact fractions."""
    levels = sorted({score for score, *_ in rows})

    def mean(low: int, high: int) -> Fraction:
        inside = [relevant for score, relevant, _ in rows if low <= score <= high]
        return Fraction(sum(inside), len(inside))

    return {
        level: max(min(mean(low, high) for high in levels if high >= level) for low in levels if low <= level)
        for level in levels
    }


@settings(max_examples=40)
@given(rows_drawn)
def test_steps_are_the_monotone_fit(rows: list[Row]) -> None:
    steps = fit_steps(pairs_from(rows), least_pairs=1, least_patients=1)
    for level, wanted in isotonic(rows).items():
        assert steps.of(np.array([float(level)]))[0] == pytest.approx(float(wanted), abs=1e-9)


@settings(max_examples=40)
@given(rows_drawn, st.integers(1, 20), st.integers(1, 4))
def test_steps_never_fall_and_stand_on_enough(rows: list[Row], least_pairs: int, least_patients: int) -> None:
    pairs = pairs_from(rows)
    steps = fit_steps(pairs, least_pairs=least_pairs, least_patients=least_patients)
    whole = len(rows) >= least_pairs and len({patient for *_, patient in rows}) >= least_patients
    assert bool(len(steps)) == whole, "all pairs together are one step where nothing less is"
    if not whole:
        return
    assert (np.diff(steps.probability_S) >= -1e-12).all()
    assert (np.diff(steps.of(np.linspace(-3, 9, 50))) >= -1e-12).all()
    step_M = steps.step_of(pairs.scores_M)
    for step in range(len(steps)):
        inside = [row for row, at in zip(rows, step_M, strict=True) if at == step]
        assert len(inside) >= least_pairs
        assert len({patient for *_, patient in inside}) >= least_patients
        assert steps.probability_S[step] == pytest.approx(np.mean([relevant for _, relevant, _ in inside]))
        assert {steps.least_S[step], steps.most_S[step]} <= {float(score) for score, *_ in inside}


def test_a_few_lucky_pairs_at_the_top_are_no_step_of_their_own() -> None:
    rows = [(10, True, patient) for patient in range(5)]
    rows += [(score, False, patient) for score in range(9) for patient in range(40)]
    steps = fit_steps(pairs_from(rows))
    assert steps.of(np.array([10.0]))[0] < 0.1
    bare = fit_steps(pairs_from(rows), least_pairs=1, least_patients=1)
    assert bare.of(np.array([10.0]))[0] == 1.0, "the control: the bare regression is sure of it"
    assert min(LEAST_PAIRS, LEAST_PATIENTS) > 5


def test_steps_come_near_the_truth() -> None:
    """120 patients, 14,280 pairs: within .05 of the true chance at every score with 500 pairs (one draw, seed 1)."""
    pairs = drawn_pairs(120, seed=1)
    levels, counts = np.unique(pairs.scores_M, return_counts=True)
    scores = levels[counts > 500]
    assert len(scores) > 10
    assert np.abs(fit_steps(pairs).of(scores) - truth(scores)).max() < 0.05


def test_nothing_is_told_where_there_is_nothing() -> None:
    steps = fit_steps(drawn_pairs(3, seed=0))
    assert len(steps) == 0
    with pytest.raises(ValueError, match="too few pairs"):
        steps.of(np.zeros(1))
    assert len(fit_steps(drawn_pairs(3, seed=0).among(np.zeros(6, bool)))) == 0
