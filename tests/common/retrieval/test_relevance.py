"""How sure a hit is said to be: monotone in the distance, honest about rounding, and nothing where nobody can tell."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.canonical import canonical_json
from common.retrieval.relevance import Curve, Point, QueryKind, Relevance, Step, Sure, Word
from common.retrieval.relevance_pairs import By

STEPS = (
    Step(nearest=10, farthest=19, probability=0.8, low=0.7, high=0.9, num_pairs=120),
    Step(nearest=20, farthest=20, probability=0.62, low=0.5, high=0.7, num_pairs=130),
    Step(nearest=24, farthest=40, probability=0.1, low=0.05, high=0.2, num_pairs=900),
)
POINTS = (Point(told=0.1, found=0.12, low=0.1, high=0.2, num_pairs=800),)


def curve_with(steps: tuple[Step, ...] = STEPS, **more: Any) -> Curve:
    facts: dict[str, Any] = {
        "query": QueryKind.TEXT,
        "gallery": "images",
        "bit_width": 64,
        "num_patients": 30,
        "num_pairs": 1150,
        "base_rate": 0.2,
        "points": POINTS,
        "error": 0.02,
        "error_of_hits": 0.04,
        "within": 38,
        "coverage": 0.91,
    }
    return Curve(**{**facts, **more, "steps": steps})


def relevance_with(*curves: Curve, model: str = "a" * 64) -> Relevance:
    return Relevance(model=model, by=By.FINDINGS, num_studies=60, num_patients=30, curves=curves)


@pytest.mark.parametrize(
    ("distance", "rounded_up", "expected"),
    [
        (15, False, (Word.ABOUT, 0.8)),
        (20, False, (Word.ABOUT, 0.62)),
        (22, False, (Word.ABOUT, 0.1)),  # between two steps: the lower one
        (40, False, (Word.ABOUT, 0.1)),
        (3, False, (Word.AT_LEAST, 0.8)),  # nearer than any public pair
        (41, False, (Word.AT_MOST, 0.1)),
        (20, True, (Word.AT_LEAST, 0.62)),
        (41, True, None),  # at most of what is at most: nothing can be said
    ],
)
def test_a_distance_is_told_its_step(distance: int, rounded_up: bool, expected: tuple[Word, float] | None) -> None:  # noqa: FBT001
    found = curve_with().of(distance, rounded_up=rounded_up)
    assert (None if found is None else (found.word, found.probability)) == expected


@st.composite
def staircases(draw: st.DrawFn) -> tuple[Step, ...]:
    ends = sorted(draw(st.sets(st.integers(0, 64), min_size=2, max_size=12)))
    rates = sorted(draw(st.lists(st.floats(0, 1), min_size=len(ends) // 2, max_size=len(ends) // 2)), reverse=True)
    pairs = zip(ends[::2], ends[1::2], rates, strict=False)
    return tuple(Step(nearest=a, farthest=b, probability=p, low=p, high=p, num_pairs=100) for a, b, p in pairs)


@given(staircases())
def test_probability_never_rises_with_distance(steps: tuple[Step, ...]) -> None:
    curve = curve_with(steps)
    told = [found.probability for distance in range(65) if (found := curve.of(distance)) is not None]
    assert len(told) == 65
    assert told == sorted(told, reverse=True)


@given(staircases(), st.integers(0, 64), st.integers(1, 9))
def test_rounded_distance_never_promises_more_than_the_true_one(
    steps: tuple[Step, ...], distance: int, step: int
) -> None:
    curve = curve_with(steps)
    told, true = curve.of(-(-distance // step) * step, rounded_up=True), curve.of(distance)
    assert true is not None
    assert told is None or (told.word is Word.AT_LEAST and told.probability <= true.probability)


def test_sentence_is_in_words() -> None:
    sure = Sure(word=Word.ABOUT, probability=0.621, low=0.5, high=0.707)
    assert sure.sentence == "relevant with about 62%"
    assert sure.interval == "50 to 71%"
    assert Sure(word=Word.AT_LEAST, probability=0.001, low=0, high=0.01).sentence == "relevant with at least 0%"


def test_curve_without_steps_tells_nothing() -> None:
    curve = curve_with((), why="too few")
    assert curve.of(10) is None
    assert not relevance_with(curve).tells
    assert relevance_with(curve_with()).tells


def test_kinds_of_search_have_their_own_curves() -> None:
    both = relevance_with(curve_with(), curve_with(bit_width=48))
    assert both.curve(query=QueryKind.TEXT, gallery="images", bit_width=48) == both.curves[1]
    assert both.curve(query=QueryKind.IMAGE, gallery="images", bit_width=64) is None


@pytest.mark.parametrize(
    "relevance",
    [relevance_with(curve_with()), relevance_with(curve_with((), why="few")), Relevance(model="a", why="no")],
)
def test_form_comes_back_as_it_was(relevance: Relevance) -> None:
    content = canonical_json(relevance.as_json())
    assert Relevance.from_json(json.loads(content)) == relevance


def _changed(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    whole = copy.deepcopy(json.loads(canonical_json(relevance_with(curve_with()).as_json())))
    at = whole
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return whole


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format",), 2),
        (("more",), 1),
        (("by",), "looks"),
        (("why",), "both curves and none"),
        (("curves",), []),
        (("num_studies",), -1),
        (("num_studies",), True),
        (("curves", 0, "steps", 0, "probability"), 0.05),  # rises with the distance
        (("curves", 0, "steps", 0, "probability"), 1.2),
        (("curves", 0, "steps", 0, "probability"), "0.8"),
        (("curves", 0, "steps", 1, "low"), 0.69),
        (("curves", 0, "steps", 2, "farthest"), 65),
        (("curves", 0, "steps", 2, "nearest"), 12),
        (("curves", 0, "error"), None),
        (("curves", 0, "gallery"), "words"),
        (("curves", 0, "query"), "sound"),
        (("curves", 0, "points", 0, "found"), float("nan")),
        (("curves", 0, "more"), 1),
    ],
)
def test_damaged_form_is_refused(path: tuple[Any, ...], value: Any) -> None:
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError)):
        Relevance.from_json(_changed(path, value))


def test_rank_may_be_below_nothing_and_a_distance_may_not() -> None:
    steps = (replace(STEPS[0], nearest=-30), *STEPS[1:])
    by_rank = relevance_with(curve_with(steps, query=QueryKind.PLAN, within=-5))
    assert Relevance.from_json(json.loads(canonical_json(by_rank.as_json()))) == by_rank
    assert (by_rank.curves[0].holds(-5), by_rank.curves[0].holds(-4)) == (True, False)
    assert replace(by_rank.curves[0], coverage=0.5).holds(-5) is None, "it did not hold what it says"
    for curve in (curve_with(steps), curve_with(within=-5)):
        with pytest.raises(ValueError, match="a distance that cannot be"):
            Relevance.from_json(relevance_with(curve).as_json())


def test_curve_of_one_kind_twice_is_refused() -> None:
    twice = relevance_with(curve_with(), curve_with()).as_json()
    with pytest.raises(ValueError, match="another form"):
        Relevance.from_json(twice)
