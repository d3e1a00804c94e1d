"""The pairs that are learned from are those that a search shows, of other patients."""

from __future__ import annotations

import numpy as np
import pytest

from client.mediator import shown_pairs as module
from client.mediator.shown_pairs import ShownPairs, shown_pairs
from common.retrieval.relevance_reliability import calibration_error
from common.retrieval.relevance_steps import fit_steps

NUM_QUERIES, NUM_STUDIES = 6, 90


def drawn(seed: int) -> tuple[ShownPairs, list[dict[int, float]]]:
    """What is shown of a gallery with many ties; and what a search shows, counted one query at a time."""
    generator = np.random.default_rng(seed)
    distances = generator.integers(10, 30, (NUM_QUERIES, NUM_STUDIES))
    ranks = distances - 12.8 * generator.integers(0, 3, distances.shape)
    relevant = generator.random(distances.shape) < 0.3
    among = generator.random(distances.shape) < 0.8
    asking, owners = np.arange(NUM_QUERIES), np.arange(NUM_STUDIES) // 2
    found = shown_pairs(
        distances,
        lambda queries, items: ranks[queries, items],
        relevant,
        among_QG=among,
        query_patients_Q=asking,
        item_patients_G=owners,
    )
    expected = []
    for query in range(NUM_QUERIES):
        others = [item for item in range(NUM_STUDIES) if owners[item] != query and among[query, item]]
        farthest = sorted(distances[query, item] for item in others)[29]
        looked_at = [item for item in others if distances[query, item] <= farthest]
        last = sorted(ranks[query, item] for item in looked_at)[9]
        expected.append({owners[item]: ranks[query, item] for item in looked_at if ranks[query, item] <= last})
    searched = [(q, i) for q in range(NUM_QUERIES) for i in range(NUM_STUDIES) if owners[i] != q and among[q, i]]
    assert found.base_rate == pytest.approx(np.mean([relevant[pair] for pair in searched]))
    return found, expected


def test_first_by_rank_of_the_nearest_are_shown_and_no_others() -> None:
    found, expected = drawn(1)
    for query, those in enumerate(expected):
        mine = found.pairs.queries_M == query
        assert set(found.pairs.item_patients_M[mine]) == set(those)
        assert -found.pairs.scores_M[mine].max() == round(min(those.values()))
    assert (found.pairs.scores_M == np.rint(found.pairs.scores_M)).all(), "whole bits, as steps are"
    assert (found.pairs.query_patients_M != found.pairs.item_patients_M).all()


def test_pairs_that_nobody_is_shown_would_be_found_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOKED_AT", NUM_STUDIES)
    found, expected = drawn(1)
    assert any(
        set(found.pairs.item_patients_M[found.pairs.queries_M == query]) != set(those)
        for query, those in enumerate(expected)
    )


def searched(seed: int) -> ShownPairs:
    """300 queries, of which half have reports that name what they look for. Where none does, none is relevant."""
    generator = np.random.default_rng(seed)
    named = (generator.random((300, 80)) < 0.2) & (np.arange(300) % 2 == 0)[:, None]
    chance = np.where(named, 0.8, np.where(np.arange(300) % 2 == 0, 0.6, 0.0)[:, None])
    distances = generator.integers(20, 30, named.shape)
    ranks = distances - 12.8 * named
    return shown_pairs(
        distances,
        lambda queries, items: ranks[queries, items],
        generator.random(named.shape) < chance,
        among_QG=np.ones(named.shape, bool),
        query_patients_Q=np.arange(300),
        item_patients_G=1000 + np.arange(80),
    )


def test_what_is_learned_of_all_pairs_is_not_so_of_those_that_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    of_others = searched(2).pairs
    assert calibration_error(of_others, fit_steps(searched(1).pairs).of(of_others.scores_M)) < 0.03
    monkeypatch.setattr(module, "LOOKED_AT", 80)
    monkeypatch.setattr(module, "FIRST_HITS", 80)
    assert calibration_error(of_others, fit_steps(searched(1).pairs).of(of_others.scores_M)) > 0.05
