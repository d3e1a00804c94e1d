"""Askers who collude learn what the limits let each of them, added up; without the limits one learns everything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from client.policy.site_schema import SearchLimits
from client.search.generation import alone
from client.search.index import SearchIndex
from client.search.studies import HANDLE
from simulations.audits.colluding_askers import Learned, learned_by_each, questions
from simulations.benchmarks.search import random_codes, random_studies

BITS, NUM_STUDIES, NUM_ASKED = 64, 150, 400
LIMITS = SearchLimits(studies_per_day=20, most_answers=5, questions_per_hour=60, nearby_bits=8)


@pytest.fixture
def index(tmp_path: Path) -> SearchIndex:
    folder, model = tmp_path / "search", "a" * 64
    with alone(folder, site="north", key=None) as writer:
        studies = random_studies(NUM_STUDIES, BITS)
        writer.write(studies, withdrawn=np.empty(0, HANDLE), model=model, bit_width=BITS, source="")
    return SearchIndex.open(folder, key=None, model=model, bit_width=BITS)


def test_each_asker_learns_what_a_day_allows_and_the_control_learns_the_index(index: SearchIndex) -> None:
    """The control is the broken variant: the same desk, index and questions, and no limit on how often and how much."""
    one, two, four, control = learned_by_each(
        index,
        random_codes(50, BITS, seed=3),
        limits=LIMITS,
        askers=(1, 2, 4),
        num_questions=NUM_ASKED,
        generator=np.random.default_rng(0),
    )
    most = LIMITS.studies_per_day + LIMITS.most_answers - 1
    for found in (one, two, four):
        assert 0 < found.studies <= found.askers * most
        assert found.answered < NUM_ASKED
    assert one.studies < two.studies < four.studies < control.studies
    assert control == Learned(
        askers=1, limited=False, questions=NUM_ASKED, answered=NUM_ASKED, studies=NUM_STUDIES, of=NUM_STUDIES
    )


def test_questions_are_the_public_codes_and_then_others_near_them() -> None:
    public = random_codes(10, BITS, seed=3)
    asked = np.stack(list(questions(public, 200, np.random.default_rng(1))))
    assert np.array_equal(asked[:10], public)
    apart = np.unpackbits(asked[10:] ^ np.tile(public, (19, 1)), axis=1).mean(axis=1)
    assert 0.08 < apart.mean() < 0.17
    assert apart.max() < 0.5
