"""The file of how sure a rank is: it comes back as it was, and none but this model's with these rules is believed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from client.mediator import rules_digest, validate
from client.mediator.own_sure import OwnSure
from client.mediator.plan_relevance import PlanRelevance, read_plan_relevance, write_plan_relevance
from client.mediator.rerank import Held
from client.search.index import Hit
from common.canonical import canonical_json
from common.errors import ConfigError, TrustError, WardroundError
from common.retrieval.relevance import QueryKind, Relevance, Step
from common.search.how_sure import HowSure
from tests.common.retrieval.test_relevance import curve_with, relevance_with

MODEL = "a" * 64
STEPS = (
    Step(nearest=-12, farthest=4, probability=0.8, low=0.7, high=0.9, num_pairs=300),
    Step(nearest=5, farthest=30, probability=0.31, low=0.2, high=0.4, num_pairs=500),
)
CURVE = curve_with(STEPS, query=QueryKind.PLAN, gallery="reports", within=9)


def file_of(*curves: Any) -> PlanRelevance:
    return PlanRelevance(rules=rules_digest.rules_digest(), relevance=relevance_with(*curves, model=MODEL))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "plans.json"
    write_plan_relevance(found, file_of(CURVE))
    return found


def test_file_comes_back_as_it_was(path: Path) -> None:
    found = read_plan_relevance(str(path), model=MODEL)
    assert found == file_of(CURVE)
    assert read_plan_relevance("", model=MODEL) is None


def _changed(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(path.read_bytes())
    change(value)
    path.write_bytes(canonical_json(value))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.write_bytes(b"{"), "is damaged"),
        (lambda path: path.write_bytes(path.read_bytes() + b" "), "is not written as it is made"),
        (lambda path: _changed(path, lambda value: value.pop("rules")), "is damaged"),
        (lambda path: _changed(path, lambda value: value["relevance"]["curves"][0].update(query="text")), "is damaged"),
        (lambda path: _changed(path, lambda value: value["relevance"].update(model="b" * 64)), "is of model bbbbbbbbb"),
        (lambda path: path.unlink(), "cannot be read"),
    ],
)
def test_file_that_does_not_hold_is_refused_in_one_line(path: Path, spoil: Callable[[Path], object], says: str) -> None:
    spoil(path)
    with pytest.raises((TrustError, ConfigError), match=says) as refused:
        read_plan_relevance(str(path), model=MODEL)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == (2 if says == "cannot be read" else 4)


def test_file_of_other_weights_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate, "NOT_NAMED", 0.25)
    rules_digest.rules_digest.cache_clear()
    try:
        with pytest.raises(WardroundError, match="other terms or weights"):
            read_plan_relevance(str(path), model=MODEL)
    finally:
        rules_digest.rules_digest.cache_clear()


HITS = (Hit("near", 20), Hit("far", 25), Hit("unread", 22))
HELD = Held(hits=HITS, judged={"near": (), "far": ()}, ranks={"near": 9, "far": -1})
BY_DISTANCE = HowSure(curve=curve_with())


def told(held: Held, by_plan: PlanRelevance | None) -> list[tuple[float | None, bool | None]]:
    own = OwnSure.of(held, BY_DISTANCE, by_plan, gallery="reports", bit_width=64)
    found = [own.of_hit(hit) for hit in held.hits]
    return [(one.sure and one.sure.probability, one.in_set) for one in found]


def test_hit_is_told_by_its_rank_where_there_is_a_plan_and_a_file_and_else_by_its_distance() -> None:
    assert told(HELD, file_of(CURVE)) == [(0.31, True), (0.8, True), (None, None)]
    assert told(Held(hits=HITS), file_of(CURVE)) == [(0.62, None), (0.1, None), (0.1, None)], (
        "nothing to hold them against"
    )
    assert told(HELD, None) == [(0.62, None), (0.1, None), (0.1, None)]


def test_file_that_cannot_tell_shows_no_probability_and_says_why() -> None:
    silent = replace(CURVE, steps=(), why="fewer than 20 public patients")
    assert told(HELD, file_of(silent)) == [(None, None)] * 3
    own = OwnSure.of(HELD, BY_DISTANCE, file_of(silent), gallery="reports", bit_width=64)
    assert own.note == "How sure a hit is cannot be told: fewer than 20 public patients."
    nothing = PlanRelevance(rules="", relevance=Relevance(model=MODEL, why="no labels"))
    assert OwnSure.of(HELD, BY_DISTANCE, nothing, gallery="reports", bit_width=64).note.endswith("no labels.")
