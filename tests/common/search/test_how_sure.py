"""What a search says of how sure its hits are."""

from __future__ import annotations

from common.retrieval.relevance import QueryKind, Relevance
from common.search.how_sure import HowSure, as_json, in_short
from tests.common.retrieval.test_relevance import curve_with, relevance_with


def of(relevance: Relevance | None, bit_width: int = 64) -> HowSure:
    return HowSure.of(relevance, query=QueryKind.TEXT, gallery="images", bit_width=bit_width)


def test_own_hit_is_told_about_and_another_hospitals_at_least() -> None:
    how_sure = of(relevance_with(curve_with()))
    own, other = how_sure.of_own(20), how_sure.of_other(20)
    assert (in_short(own), in_short(other)) == ("about 62%", "at least 62%")
    assert as_json(own) == {"word": "about", "probability": 0.62, "low": 0.5, "high": 0.7}
    assert how_sure.tells
    assert "1,150 public pairs" in how_sure.note


def test_model_of_an_older_wardround_says_nothing() -> None:
    how_sure = of(None)
    assert (how_sure.of_own(1), how_sure.of_other(1), how_sure.why, how_sure.note) == (None, None, "", "")
    assert (as_json(None), in_short(None)) == (None, "cannot tell")


def test_distance_that_tells_nothing_is_said_to() -> None:
    blind, sharp = (of(relevance_with(curve_with(base_rate=rate))) for rate in (0.75, 0.2))
    assert blind.caution.endswith("likelier than a study drawn blindly.")
    assert blind.note.endswith(blind.caution)
    assert (sharp.caution, sharp.blindly) == ("", "20%")


def test_what_cannot_be_told_says_why() -> None:
    assert of(Relevance(model="a", why="no public validation")).why == "no public validation"
    assert of(relevance_with(curve_with((), why="too few"))).note == "How sure a hit is cannot be told: too few."
    assert "codes of 128 bits" in of(relevance_with(curve_with()), bit_width=128).why
