"""Numbers and codes as people read them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.report import sentences, words


@pytest.mark.parametrize(
    "form",
    [words.percent, words.points, words.decimal, words.epsilon, words.count, words.duration, words.whole_percent],
)
@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), float("-inf")])
def test_what_is_not_a_number_is_an_en_dash(form: Callable[[float | None], str], value: float | None) -> None:
    assert form(value) == "\N{EN DASH}"


@given(st.floats(0, 1000))
def test_epsilon_never_claims_too_little_nor_a_hundredth_too_much(value: float) -> None:
    shown = float(words.epsilon(value))
    assert value - 1e-9 <= shown < value + 0.01


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (words.percent(0.4125), "41.2%"),
        (words.percent_range((0.1, 0.25)), "10.0\N{EN DASH}25.0"),
        (words.percent_range(None), ""),
        (words.points(-0.013), "\N{MINUS SIGN}1.3"),
        (words.points(0.148), "+14.8"),
        (words.decimal(1e-5), "10⁻⁵"),
        (words.decimal(2.5e-6), "2.5 \N{MULTIPLICATION SIGN} 10⁻⁶"),
        (words.decimal(0.3), "0.3"),
        (words.decimal(0), "0"),
        (words.decimal(8.0), "8"),
        (words.count(2050), "2,050"),
        (words.duration(8.21), "8.2 s"),
        (words.duration(59.97), "1 min 0 s"),
        (words.duration(200), "3 min 20 s"),
        (words.duration(7500), "2 h 5 min"),
        (words.moment("2026-07-09T14:05:11Z"), "9 July 2026, 14:05 UTC"),
        (words.moment("2026-07-09T14:05:11+02:00"), "9 July 2026, 12:05 UTC"),
        (words.moment("yesterday"), "yesterday"),
        (words.plural(1, "round"), "one round"),
        (words.plural(12, "round"), "twelve rounds"),
        (words.plural(1300, "round"), "1,300 rounds"),
        (words.listing(["a"]), "a"),
        (words.listing(["a", "b", "c"]), "a, b and c"),
        (words.capital("five St. Brigid"), "Five St. Brigid"),
        (words.whole_percent(0.8999), "89"),
        (words.whole_percent(0.29), "29"),
        (words.whole_percent(1.074), "107"),
        (words.rule("arc+nnm+trimmed_mean"), "ARC + NNM + trimmed mean"),
        (words.rule("nnm+own"), "NNM + own"),
        (words.attack("sign_flip"), "Sign flip"),
        (words.attack("own"), "own"),
        (words.drop_reason("replay"), "sent an earlier update again"),
        (words.drop_reason("round"), "answered for another round or run"),
        (words.drop_reason("nan"), "sent numbers that are not finite"),
        (words.drop_reason("solar_flare"), "solar_flare"),
    ],
)
def test_words_read_as_written(shown: str, expected: str) -> None:
    assert shown == expected


def test_what_was_not_measured_of_codes_is_not_said() -> None:
    for pooled in (None, {}, {"findings": None}):
        assert sentences.by_findings(pooled) == []
        assert sentences.bits_used(pooled) == []
        assert sentences.certified(pooled) == []


def test_mean_leaves_out_what_is_not_a_number() -> None:
    assert words.mean([0.25, None, float("nan"), 0.75]) == 0.5
    assert words.mean([None]) is None
