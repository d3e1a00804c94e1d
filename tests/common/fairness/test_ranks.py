"""Figures of ranks: those of plain means where there is no noise, and counts that add up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.fairness.ranks import NUM_RANK_BINS, RECIPROCALS, WHOLE, RankCounts, parts_by_bin

NOTHING = np.zeros((NUM_RANK_BINS, NUM_RANK_BINS))

ranks = st.lists(st.integers(1, 5000), min_size=1, max_size=200).map(np.array)


@st.composite
def rank_counts(draw: st.DrawFn) -> RankCounts:
    parts = draw(st.lists(st.integers(0, 10**6), min_size=NUM_RANK_BINS, max_size=NUM_RANK_BINS))
    return RankCounts(np.array(parts) / 512, draw(st.integers(0, 1000)) * np.eye(NUM_RANK_BINS))


def same(one: RankCounts, other: RankCounts) -> bool:
    return np.allclose(one.counts, other.counts) and np.allclose(one.covariance, other.covariance)


@given(one=rank_counts(), other=rank_counts(), third=rank_counts())
def test_merging_is_a_commutative_monoid(one: RankCounts, other: RankCounts, third: RankCounts) -> None:
    assert same(one.merge(other), other.merge(one))
    assert same(one.merge(other).merge(third), one.merge(other.merge(third)))
    assert same(one.merge(RankCounts.zero()), one)


@given(rank_N=ranks)
def test_each_study_weighs_one_and_keeps_its_reciprocal(rank_N: np.ndarray) -> None:
    parts_NB = parts_by_bin(rank_N)
    assert parts_NB.min() >= 0
    assert (parts_NB.sum(axis=1) == WHOLE).all()
    assert parts_NB @ np.array(RECIPROCALS) / WHOLE == pytest.approx(1 / rank_N, abs=1 / WHOLE)
    exact = rank_N <= 10
    assert (parts_NB @ np.array(RECIPROCALS) / WHOLE)[exact] == pytest.approx(1 / rank_N[exact])


@given(rank_N=ranks)
def test_figures_are_those_of_the_ranks(rank_N: np.ndarray) -> None:
    found = RankCounts(parts_by_bin(rank_N).sum(axis=0) / WHOLE, NOTHING).figures()
    assert found["recall_at_1"].value == pytest.approx(np.mean(rank_N == 1))
    assert found["recall_at_5"].value == pytest.approx(np.mean(rank_N <= 5))
    assert found["mrr"].value == pytest.approx(np.mean(1 / rank_N), abs=1 / WHOLE)
    for one in found.values():
        assert 0 <= one.interval.low <= one.value <= one.interval.high <= 1


def test_mean_is_surer_than_a_yes_or_no_of_the_same_mean() -> None:
    rng = np.random.default_rng(1)
    found = RankCounts(parts_by_bin(rng.integers(1, 12, 500)).sum(axis=0) / WHOLE, NOTHING).mean_reciprocal_rank()
    yes = RankCounts(np.array([found.value * 500, 0, 0, 0, 0, 0, (1 - found.value) * 500]), NOTHING)
    reach = found.interval.high - found.interval.low
    assert reach < 0.8 * (yes.mean_reciprocal_rank().interval.high - yes.mean_reciprocal_rank().interval.low)


def test_noise_that_drowns_the_counts_gives_the_whole_range() -> None:
    found = RankCounts(np.full(NUM_RANK_BINS, 1.0), 1e4 * np.eye(NUM_RANK_BINS)).mean_reciprocal_rank()
    assert (found.interval.low, found.interval.high) == (0.0, 1.0)


def test_nobody_has_no_rank() -> None:
    with pytest.raises(ValueError, match="no patient"):
        RankCounts.zero().figures()
