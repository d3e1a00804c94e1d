"""Whether what is said of probabilities is so: of right ones, of wrong ones, and of those fitted to their own pairs."""

from __future__ import annotations

import numpy as np
import pytest

from common.retrieval.relevance_pairs import ScoredPairs
from common.retrieval.relevance_reliability import (
    FIRST_HITS,
    Told,
    calibration_error,
    cross_told,
    folds_of,
    rates_with_intervals,
    reliability_of,
)
from common.retrieval.relevance_steps import fit_steps
from tests.common.retrieval.relevance_worlds import drawn_pairs, truth


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def told(pairs: ScoredPairs, probability: np.ndarray) -> Told:
    return Told(pairs=pairs, probability_M=probability, coverage=0.9)


def test_right_probabilities_have_little_error_and_wrong_ones_their_own() -> None:
    """119 x 120 pairs, one draw, seed 2. The mean gap of squared odds is known: the control must find it."""
    pairs = drawn_pairs(120, seed=2)
    right, wrong = truth(pairs.scores_M), truth(pairs.scores_M) ** 2
    assert reliability_of(told(pairs, right), generator()).error < 0.02
    gap = float(np.abs(right - wrong).mean())
    assert gap > 0.1
    assert reliability_of(told(pairs, wrong), generator()).error == pytest.approx(gap, abs=0.03)


def test_points_hold_the_truth_and_those_of_wrong_probabilities_do_not() -> None:
    pairs = drawn_pairs(120, seed=3)
    right = reliability_of(told(pairs, truth(pairs.scores_M)), generator())
    wrong = reliability_of(told(pairs, truth(pairs.scores_M) ** 2), generator())
    held, not_held = ([point.low <= point.told <= point.high for point in found.points] for found in (right, wrong))
    assert np.mean(held) > 0.9
    assert np.mean(not_held) < 0.5
    assert all(point.low <= point.found <= point.high for point in (*right.points, *wrong.points))


def test_curve_fitted_to_its_own_pairs_is_caught() -> None:
    """Where the score says nothing and patients differ, whatever was fitted looks right on its own pairs.

    30 patients, 10 draws (seeds 0 to 9). The true error is that against new patients of the same kind, 3 galleries a
    draw. Held against others, the error told must not be below 0.8 of it; of its own pairs it is below half.
    """
    true, honest, own = [], [], []
    for seed in range(10):
        pairs = drawn_pairs(30, seed=seed, informative=False, spread=1.2)
        steps = fit_steps(pairs)
        own.append(calibration_error(pairs, steps.of(pairs.scores_M)))
        found = cross_told(pairs, generator(seed))
        assert found is not None
        honest.append(calibration_error(found.pairs, found.probability_M))
        news = [drawn_pairs(30, seed=1000 * (seed + 1) + i, informative=False, spread=1.2) for i in range(3)]
        true += [calibration_error(new, steps.of(new.scores_M)) for new in news]
    assert np.mean(honest) > 0.8 * np.mean(true)
    assert np.mean(own) < 0.5 * np.mean(true), "the broken variant would be believed"


def test_no_pair_is_told_by_a_curve_that_saw_one_of_its_patients(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[int]] = []

    def watched(pairs: ScoredPairs) -> object:
        seen.append(set(pairs.patients.tolist()))
        return fit_steps(pairs)

    monkeypatch.setattr("common.retrieval.relevance_reliability.fit_steps", watched)
    pairs = drawn_pairs(60, seed=4)
    found = cross_told(pairs, generator())
    assert found is not None
    assert set(found.pairs.query_patients_M.tolist()) == set(range(60)), "each query is told once"
    folds = folds_of(pairs.patients, generator())
    assert len(folds) == len(seen) == 5
    for fold, fitted in zip(folds, seen, strict=True):
        assert fitted.isdisjoint(fold.tolist())
    for query, item in zip(found.pairs.query_patients_M, found.pairs.item_patients_M, strict=True):
        assert any({query, item} <= set(fold.tolist()) for fold in folds)


def test_interval_over_patients_covers_and_one_over_pairs_does_not() -> None:
    """Of 80 draws of 40 patients who differ; the true share is that of 1,500 patients' pairs.

    At 95% nominal the cautious interval covers in at least 70 (alpha .01 of a true 95%), one that counts pairs in fewer
    than 56.
    """
    true = float(drawn_pairs(1500, seed=99, informative=False, spread=1.0).relevant_M.mean())
    covered, covered_by_pairs = 0, 0
    for seed in range(80):
        pairs = drawn_pairs(40, seed=seed, informative=False, spread=1.0)
        value, interval = rates_with_intervals(pairs, np.zeros(len(pairs), np.int64), 1, generator(seed))[0]
        covered += interval.low <= true <= interval.high
        reach = 1.96 * (value * (1 - value) / len(pairs)) ** 0.5
        covered_by_pairs += abs(value - true) <= reach
    assert covered >= 70
    assert covered_by_pairs < 56


def test_share_of_none_or_all_has_an_interval_still() -> None:
    pairs = drawn_pairs(20, seed=0)
    nothing = ScoredPairs(**{**vars(pairs), "relevant_M": np.zeros(len(pairs), bool)})
    value, interval = rates_with_intervals(nothing, np.zeros(len(pairs), np.int64), 1, generator())[0]
    assert (value, interval.low) == (0.0, 0.0)
    assert 0.1 < interval.high < 0.2, "Wilson's of 20 patients: 0.161"


def test_too_few_patients_are_told_nothing() -> None:
    assert cross_told(drawn_pairs(19, seed=0), generator()) is None
    assert cross_told(drawn_pairs(24, seed=0), generator()) is not None


def test_error_of_hits_is_that_of_the_first_ten() -> None:
    """Right but for the ten best of each query, which are told one for certain."""
    pairs = drawn_pairs(120, seed=5)
    probability = truth(pairs.scores_M)
    first = pairs.are_first(FIRST_HITS)
    probability[first] = 1.0
    found = reliability_of(told(pairs, probability), generator())
    assert found.error_of_hits == pytest.approx(1 - pairs.relevant_M[first].mean(), abs=1e-9)
    assert found.error < found.error_of_hits
