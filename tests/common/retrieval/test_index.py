"""Both indexes, against sorting by scores computed with plain Python."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from common.errors import ConfigError
from common.retrieval.index import CodeIndex, EmbeddingIndex, Index


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    lengths = math.sqrt(math.fsum(x * x for x in one)) * math.sqrt(math.fsum(x * x for x in other))
    return math.fsum(x * y for x, y in zip(one, other, strict=True)) / lengths


def embeddings(rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, 12)).astype(np.float32)


def codes(rows: int, seed: int) -> np.ndarray:
    # Few distinct bytes, so that distances tie often.
    return np.random.default_rng(seed).choice(np.array([0, 1, 255], np.uint8), (rows, 8))


def embedding_case(gallery: int, queries: int) -> tuple[Index, np.ndarray]:
    repeated = np.random.default_rng(0).integers(20, size=gallery)
    return EmbeddingIndex(embeddings(20, seed=1)[repeated]), embeddings(queries, seed=2)


def code_case(gallery: int, queries: int) -> tuple[Index, np.ndarray]:
    return CodeIndex(codes(gallery, seed=1), 64), codes(queries, seed=2)


CASES = pytest.mark.parametrize("case", [embedding_case, code_case])


@CASES
@pytest.mark.parametrize("queries", [1, 7, 60])
def test_search_returns_the_best_scores_with_ties_in_gallery_order(case: Any, queries: int) -> None:
    index, query = case(gallery=90, queries=queries)
    scores, hits = index.scores(query), index.search(query, k=13)
    for row in range(queries):
        expected = sorted(range(90), key=lambda item, row=row: (-scores[row, item], item))[:13]
        assert hits.ids_QK[row].tolist() == expected
        assert hits.scores_QK[row].tolist() == scores[row, expected].tolist()


@CASES
def test_search_returns_the_whole_gallery_where_k_is_larger(case: Any) -> None:
    index, query = case(gallery=4, queries=3)
    hits = index.search(query, k=10)
    assert np.sort(hits.ids_QK, axis=1).tolist() == [[0, 1, 2, 3]] * 3
    assert hits.scores_QK.shape == (3, 4)


@CASES
def test_an_empty_batch_of_queries_has_no_hits(case: Any) -> None:
    index, query = case(gallery=4, queries=0)
    hits = index.search(query, k=2)
    assert hits.ids_QK.shape == hits.scores_QK.shape == (0, 2)
    assert index.scores(query).shape == (0, 4)


@CASES
def test_an_empty_gallery_has_no_hits(case: Any) -> None:
    index, query = case(gallery=0, queries=3)
    assert index.search(query, k=2).ids_QK.shape == (3, 0)
    assert index.scores(query).shape == (3, 0)


@CASES
@pytest.mark.parametrize("k", [0, -1])
def test_search_refuses_no_hits(case: Any, k: int) -> None:
    index, query = case(gallery=4, queries=3)
    with pytest.raises(ValueError, match=f"k={k}"):
        index.search(query, k=k)


def test_embedding_scores_are_cosines() -> None:
    gallery, query = embeddings(20, seed=3), 1e-3 * embeddings(5, seed=4)
    scores = EmbeddingIndex(1e3 * gallery).scores(query)
    assert scores.dtype == np.float32
    expected = [[cosine(one, other) for other in gallery] for one in query]
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_embedding_scores_of_one_direction_tie_exactly() -> None:
    generator = np.random.default_rng(6)
    item = generator.permutation(np.repeat(np.arange(100), 10))
    gallery = embeddings(100, seed=5)[item] * generator.uniform(0.5, 2, (1000, 1))
    scores = EmbeddingIndex(gallery).scores(embeddings(300, seed=7))
    for same in range(100):
        assert np.ptp(scores[:, item == same], axis=1).max() == 0


def test_a_zero_embedding_scores_zero() -> None:
    gallery = np.vstack([np.zeros((1, 12), np.float32), embeddings(2, seed=8)])
    assert EmbeddingIndex(gallery).scores(gallery)[0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_embeddings_that_are_not_finite_are_refused_on_both_sides(bad: float) -> None:
    good, broken = embeddings(3, seed=9), embeddings(3, seed=9)
    broken[1, 2] = bad
    with pytest.raises(ValueError, match="gallery: the embedding of row 1"):
        EmbeddingIndex(broken)
    with pytest.raises(ValueError, match="queries: the embedding of row 1"):
        EmbeddingIndex(good).search(broken, k=1)
    with pytest.raises(ValueError, match="queries: the embedding of row 1"):
        EmbeddingIndex(good).scores(broken)


def test_embeddings_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="11 dimensions against a gallery of 12"):
        EmbeddingIndex(embeddings(3, seed=9)).scores(np.ones((1, 11)))
    with pytest.raises(ValueError, match="shape"):
        EmbeddingIndex(np.ones(12))


def test_code_scores_are_negated_hamming_distances() -> None:
    gallery, query = codes(20, seed=10), codes(5, seed=11)
    expected = [
        [-sum(int(x ^ y).bit_count() for x, y in zip(one.tolist(), other.tolist(), strict=True)) for other in gallery]
        for one in query
    ]
    assert CodeIndex(gallery, 64).scores(query).tolist() == expected


def test_codes_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match="gallery"):
        CodeIndex(np.zeros((3, 8), np.uint8), 128)
    with pytest.raises(ValueError, match="queries"):
        CodeIndex(np.zeros((3, 8), np.uint8), 64).scores(np.zeros((3, 16), np.uint8))
    with pytest.raises(ValueError, match="float64"):
        CodeIndex(np.zeros((3, 8)), 64)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="bit_width=40"):
        CodeIndex(np.zeros((3, 5), np.uint8), 40)
