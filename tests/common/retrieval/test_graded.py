"""Graded relevance: shared findings, and NDCG as the mean over every order of tied items."""

from __future__ import annotations

import math
from itertools import groupby, permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from common.retrieval.graded import ndcg, shared_findings
from common.types import StudyRecord

ITEMS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=2, max_size=6).filter(
    lambda items: any(gain for _, gain in items)
)


def dcg(gains: tuple[int, ...] | list[int], k: int) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains[:k], start=1))


@settings(max_examples=150, deadline=None)
@given(items=ITEMS, k=st.integers(1, 7))
def test_ndcg_equals_the_mean_over_every_order_of_ties(items: list[tuple[int, int]], k: int) -> None:
    ranked = sorted(items, key=lambda item: -item[0])
    blocks = [[gain for _, gain in block] for _, block in groupby(ranked, key=lambda item: item[0])]
    orders = [[gain for part in parts for gain in part] for parts in product(*(permutations(b) for b in blocks))]
    best = dcg(sorted((gain for _, gain in items), reverse=True), k)
    expected = sum(dcg(order, k) for order in orders) / len(orders) / best
    scores, gains = (np.array([column]) for column in zip(*items, strict=True))
    assert ndcg(scores, gains, k=k)[0] == pytest.approx(expected, abs=1e-12)


def test_ndcg_of_many_queries_equals_scikit_learn() -> None:
    source = np.random.default_rng(0)
    scores, gains = source.integers(0, 9, (40, 60)), source.integers(0, 4, (40, 60))
    for k in (None, 1, 10, 60, 100):
        expected = [ndcg_score(g[None], s[None], k=k) for s, g in zip(scores, gains, strict=True)]
        np.testing.assert_allclose(ndcg(scores, gains, k=k), expected, atol=1e-12)


def test_shared_findings_are_counted() -> None:
    def study(*findings: str) -> StudyRecord:
        return StudyRecord(study_id="1", patient_id="1", report="", findings=findings)

    shared = shared_findings(
        [study("effusion", "nodule"), study()], [study("nodule"), study("nodule", "effusion", "mass"), study("mass")]
    )
    np.testing.assert_array_equal(shared, [[1, 2, 0], [0, 0, 0]])


def test_a_single_item_is_always_first() -> None:
    np.testing.assert_array_equal(ndcg(np.array([[0.5]]), np.array([[3]])), [1.0])


@pytest.mark.parametrize("gains", [np.array([[0, 0]]), np.array([[1, 0, 0]])])
def test_ndcg_refuses_what_has_none(gains: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"leave it out|one shape"):
        ndcg(np.array([[1.0, 2.0]]), gains)
