"""Figures of scores: those of scikit-learn and fairlearn where there is no noise, and counts that add up."""

from __future__ import annotations

import numpy as np
import pytest
from fairlearn.metrics import MetricFrame, equalized_odds_difference, false_positive_rate, true_positive_rate
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from common.fairness.scores import BIN_EDGES, NUM_BINS, OPERATING_PROBABILITY, PairScores

NOTHING = np.zeros((2 * NUM_BINS, 2 * NUM_BINS))
MIDDLES = np.array([0.05, 0.2, 0.4, 0.6, 0.8, 0.95])

counts = st.lists(st.integers(0, 10**6), min_size=NUM_BINS, max_size=NUM_BINS).map(lambda cells: np.array(cells) / 512)


@st.composite
def pair_scores(draw: st.DrawFn) -> PairScores:
    variance = draw(st.integers(0, 1000))
    return PairScores(draw(counts), draw(counts), variance * np.eye(2 * NUM_BINS))


def same(one: PairScores, other: PairScores) -> bool:
    return all(
        np.allclose(getattr(one, name), getattr(other, name)) for name in ("relevant", "irrelevant", "covariance")
    )


@given(one=pair_scores(), other=pair_scores(), third=pair_scores())
def test_merging_is_a_commutative_monoid(one: PairScores, other: PairScores, third: PairScores) -> None:
    assert same(one.merge(other), other.merge(one))
    assert same(one.merge(other).merge(third), one.merge(other.merge(third)))
    assert same(one.merge(PairScores.zero()), one)


def groups_of_pairs(seed: int) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.str_]]:
    """Bins of pairs, whether each is right, and whose it is: as many right as wrong ones of each patient."""
    rng = np.random.default_rng(seed)
    group = rng.choice(["F", "M", "unknown"], 600, p=[0.5, 0.4, 0.1])
    right = rng.binomial(NUM_BINS - 1, np.where(group == "M", 0.5, 0.8))
    wrong = rng.binomial(NUM_BINS - 1, np.where(group == "M", 0.4, 0.2))
    is_right = np.repeat([True, False], 600)
    return np.concatenate([right, wrong]), is_right, np.tile(group, 2)


def exact(bins: NDArray[np.int64], is_right: NDArray[np.bool_]) -> PairScores:
    relevant, irrelevant = (np.bincount(bins[is_right == kind], minlength=NUM_BINS) for kind in (True, False))
    return PairScores(relevant.astype(float), irrelevant.astype(float), NOTHING)


@pytest.mark.parametrize("seed", range(5))
def test_figures_are_those_of_scikit_learn_and_fairlearn(seed: int) -> None:
    bins, is_right, group = groups_of_pairs(seed)
    found = MIDDLES[bins] >= OPERATING_PROBABILITY
    frame = MetricFrame(
        metrics={"tpr": true_positive_rate, "fpr": false_positive_rate},
        y_true=is_right,
        y_pred=found,
        sensitive_features=group,
    ).by_group
    rates = {}
    for name in ("F", "M", "unknown"):
        mine = group == name
        scores = exact(bins[mine], is_right[mine])
        rates[name] = (scores.true_positive_rate().value, scores.false_positive_rate().value)
        assert rates[name] == pytest.approx((frame.tpr[name], frame.fpr[name]))
        assert scores.auroc().value == pytest.approx(roc_auc_score(is_right[mine], bins[mine]))
        stated = MIDDLES[bins[mine]].mean() - is_right[mine].mean()
        assert scores.calibration_error().value == pytest.approx(stated)
    widest = max(max(of_all) - min(of_all) for of_all in zip(*rates.values(), strict=True))
    assert widest == pytest.approx(equalized_odds_difference(is_right, found, sensitive_features=group))


def test_operating_probability_is_an_edge_and_bins_are_named_by_their_middles() -> None:
    assert OPERATING_PROBABILITY in BIN_EDGES
    assert pytest.approx((np.array([0, *BIN_EDGES]) + np.array([*BIN_EDGES, 1])) / 2) == MIDDLES


@given(scores=pair_scores(), shift=st.integers(-2000, 2000))
def test_figures_stay_in_form_under_any_noise(scores: PairScores, shift: int) -> None:
    moved = PairScores(scores.relevant + shift / 8, scores.irrelevant - shift / 16, scores.covariance)
    if not moved.speak:
        with pytest.raises(ValueError, match="no patient"):
            moved.figures()
        return
    for name, found in moved.figures().items():
        least, most = (-0.5, 0.5) if name == "calibration_error" else (0.0, 1.0)
        assert least <= found.interval.low <= found.value <= found.interval.high <= most


def test_noise_that_drowns_the_counts_leaves_all_open() -> None:
    few = PairScores(np.full(NUM_BINS, 1.0), np.full(NUM_BINS, 1.0), 1e4 * np.eye(2 * NUM_BINS))
    assert (few.auroc().interval.low, few.auroc().interval.high) == (0.0, 1.0)
    assert (few.true_positive_rate().interval.low, few.true_positive_rate().interval.high) == (0.0, 1.0)
