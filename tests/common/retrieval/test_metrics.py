"""Tie-averaged metrics, against textbook metrics averaged over every order of the tied items."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations, groupby, permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from common.retrieval.metrics import METRIC_NAMES, average_precision_at, chance_recall_at, retrieval_metrics

QUERIES = st.lists(st.tuples(st.integers(-3, 0), st.booleans()), min_size=1, max_size=7).filter(
    lambda items: any(relevant for _, relevant in items)
)
"""Small galleries as (score, relevant), with few distinct scores and at least one relevant item."""


def one_query(items: list[tuple[float, bool]]) -> dict[str, float]:
    scores, relevant = zip(*items, strict=True)
    metrics = retrieval_metrics(np.array([scores]), np.array([relevant]))
    return {name: float(value_Q[0]) for name, value_Q in metrics.items()}


def textbook(relevant: list[bool]) -> dict[str, Fraction]:
    """The metrics of one ranking without ties, in exact arithmetic."""
    ranks = [rank for rank, hit in enumerate(relevant, start=1) if hit]
    precision_at_hits = [Fraction(found, rank) for found, rank in enumerate(ranks, start=1)]
    return {
        **{f"recall_at_{k}": Fraction(int(ranks[0] <= k)) for k in (1, 5, 10)},
        "mrr": Fraction(1, ranks[0]),
        "map": sum(precision_at_hits, Fraction()) / len(ranks),
    }


def every_order(items: list[tuple[float, bool]]) -> Iterator[list[bool]]:
    """Relevance in every ranking that the scores allow."""
    ranked = sorted(items, key=lambda item: -item[0])
    blocks = [[relevant for _, relevant in block] for _, block in groupby(ranked, key=lambda item: item[0])]
    for orders in product(*(permutations(block) for block in blocks)):
        yield [relevant for order in orders for relevant in order]


def random_case(queries: int, gallery: int, *, levels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    relevant = generator.random((queries, gallery)) < 0.1
    relevant[np.arange(queries), generator.integers(gallery, size=queries)] = True
    return generator.integers(levels, size=(queries, gallery)), relevant


@settings(max_examples=150, deadline=None)
@given(items=QUERIES)
def test_metrics_equal_the_mean_over_every_order_of_ties(items: list[tuple[int, bool]]) -> None:
    every = [textbook(relevant) for relevant in every_order(items)]
    measured = one_query(items)
    for name in METRIC_NAMES:
        assert measured[name] == pytest.approx(float(sum(one[name] for one in every) / len(every)), abs=1e-12)


@settings(max_examples=150, deadline=None)
@given(items=QUERIES, k=st.integers(1, 8))
def test_average_precision_at_a_depth_equals_the_mean_over_every_order_of_ties(
    items: list[tuple[int, bool]], k: int
) -> None:
    scores, relevant = (np.array([column]) for column in zip(*items, strict=True))
    every = []
    for order in every_order(items):
        hits = [rank for rank, hit in enumerate(order[:k], start=1) if hit]
        every.append(sum(found / rank for found, rank in enumerate(hits, start=1)) / min(k, int(relevant.sum())))
    assert average_precision_at(k, scores, relevant)[0] == pytest.approx(float(np.mean(every)), abs=1e-12)


def test_average_precision_refuses_no_depth() -> None:
    with pytest.raises(ValueError, match="k=0"):
        average_precision_at(0, np.array([[1.0]]), np.array([[True]]))


def test_metrics_of_a_block_across_a_depth_equal_every_choice_of_places() -> None:
    # Three items above, then 9 tied of which 2 are relevant: ranks 4 to 12 straddle both depths 5 and 10.
    items = [(3.0 + i, False) for i in range(3)] + [(1.0, i < 2) for i in range(9)]
    every = [textbook([False] * 3 + [i in places for i in range(9)]) for places in combinations(range(9), 2)]
    measured = one_query(items)
    for name in METRIC_NAMES:
        assert measured[name] == pytest.approx(float(sum(one[name] for one in every) / len(every)), abs=1e-12)


def test_metrics_without_ties_equal_the_textbook() -> None:
    generator = np.random.default_rng(1)
    scores = generator.permuted(np.tile(np.arange(300.0), (200, 1)), axis=1)
    relevant = generator.random(scores.shape) < generator.choice([0.004, 0.05, 0.5], (200, 1))
    relevant[:, 0] = True
    measured = retrieval_metrics(scores, relevant)
    for query in range(200):
        expected = textbook(relevant[query, np.argsort(-scores[query])].tolist())
        for name in METRIC_NAMES:
            assert measured[name][query] == pytest.approx(float(expected[name]), abs=1e-12)
        assert measured["map"][query] == pytest.approx(
            average_precision_score(relevant[query], scores[query]), abs=1e-12
        )


@pytest.mark.parametrize("levels", [1, 3, 40])
def test_metrics_do_not_depend_on_gallery_order(levels: int) -> None:
    scores, relevant = random_case(150, 200, levels=levels, seed=2)
    order = np.random.default_rng(3).permutation(200)
    first, second = (
        retrieval_metrics(scores, relevant),
        retrieval_metrics(scores[:, order], relevant[:, order]),
    )
    for name in METRIC_NAMES:
        np.testing.assert_allclose(first[name], second[name], atol=1e-12)


def test_metrics_of_a_query_do_not_depend_on_the_other_queries() -> None:
    scores, relevant = random_case(300, 50, levels=5, seed=4)
    together = retrieval_metrics(scores, relevant)
    for query in (0, 127, 128, 299):
        alone = retrieval_metrics(scores[[query]], relevant[[query]])
        assert all(alone[name][0] == together[name][query] for name in METRIC_NAMES)


@settings(max_examples=100, deadline=None)
@given(items=QUERIES)
def test_metrics_stay_in_their_bounds_and_recall_grows_with_depth(items: list[tuple[int, bool]]) -> None:
    measured = one_query(items)
    assert all(0 <= value <= 1 for value in measured.values())
    assert measured["recall_at_1"] <= measured["recall_at_5"] <= measured["recall_at_10"]
    assert measured["recall_at_1"] <= measured["mrr"]


@settings(max_examples=100, deadline=None)
@given(items=QUERIES)
def test_raising_a_relevant_item_never_lowers_recall_or_rank(items: list[tuple[int, bool]]) -> None:
    item = next(place for place, (_, relevant) in enumerate(items) if relevant)
    raised = [(score + (place == item), relevant) for place, (score, relevant) in enumerate(items)]
    before, after = one_query(items), one_query(raised)
    assert all(after[name] >= before[name] - 1e-12 for name in METRIC_NAMES)


def test_when_everything_ties_recall_is_chance() -> None:
    _, relevant = random_case(40, 60, levels=1, seed=5)
    measured = retrieval_metrics(np.zeros(relevant.shape), relevant)
    for k in (1, 5, 10):
        assert measured[f"recall_at_{k}"].mean() == pytest.approx(chance_recall_at(k, relevant), abs=1e-12)


@pytest.mark.parametrize("k", [1, 4, 10, 28, 29, 100])
def test_chance_recall_is_hypergeometric(k: int) -> None:
    relevant = np.zeros((2, 30), dtype=bool)
    relevant[0, :1] = relevant[1, 5:8] = True
    drawn = min(k, 30)
    expected = [1 - Fraction(math.comb(30 - found, drawn), math.comb(30, drawn)) for found in (1, 3)]
    assert chance_recall_at(k, relevant) == pytest.approx(float(sum(expected) / 2), abs=1e-12)


def test_hamming_scores_and_infinite_scores_rank() -> None:
    relevant = np.array([[False, True, False]])
    assert retrieval_metrics(np.array([[-5, -2, -9]], np.int32), relevant)["mrr"].tolist() == [1.0]
    infinite = retrieval_metrics(np.array([[np.inf, -np.inf, -np.inf]]), relevant)
    assert infinite["mrr"].tolist() == pytest.approx([5 / 12])


def test_no_query_gives_no_value() -> None:
    measured = retrieval_metrics(np.zeros((0, 5)), np.zeros((0, 5), dtype=bool))
    assert {name: value_Q.shape for name, value_Q in measured.items()} == dict.fromkeys(METRIC_NAMES, (0,))


def test_metrics_refuse_what_has_no_ranking() -> None:
    relevant = np.array([[True, False], [False, False]])
    with pytest.raises(ValueError, match="query 1 has no relevant item"):
        retrieval_metrics(np.zeros((2, 2)), relevant)
    with pytest.raises(ValueError, match="query 1 has no relevant item"):
        chance_recall_at(1, relevant)
    with pytest.raises(ValueError, match="NaN"):
        retrieval_metrics(np.array([[0.0, np.nan]]), relevant[:1])
    with pytest.raises(ValueError, match="one shape"):
        retrieval_metrics(np.zeros((1, 3)), relevant[:1])
    with pytest.raises(ValueError, match="bool"):
        retrieval_metrics(np.zeros((1, 2)), np.array([[1, 0]]))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="k=0"):
        chance_recall_at(0, relevant[:1])
    with pytest.raises(ValueError, match="0 queries"):
        chance_recall_at(1, relevant[:0])
