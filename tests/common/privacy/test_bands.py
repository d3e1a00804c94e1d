"""Bands of patient counts: every number has one, and no other text is one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import AdmissionError
from common.privacy.bands import band_of, delta_for, middle_of, most_of


@pytest.mark.parametrize(
    ("number", "band"),
    [
        (0, "1-10"),
        (1, "1-10"),
        (10, "1-10"),
        (11, "11-15"),
        (15, "11-15"),
        (16, "16-31"),
        (31, "16-31"),
        (32, "32-63"),
        (1000, "512-1023"),
    ],
)
def test_band_of_number(number: int, band: str) -> None:
    assert band_of(number) == band


@given(st.integers(1, 10**9))
def test_band_holds_the_number_and_its_middle(number: int) -> None:
    low, high = map(int, band_of(number).split("-"))
    assert low <= number <= high
    assert low <= middle_of(band_of(number)) <= high
    assert high < 2 * max(low, 8) or low == 1


@given(st.integers(1, 10**9))
def test_bands_leave_no_gap(number: int) -> None:
    _, high = map(int, band_of(number).split("-"))
    assert band_of(high + 1).startswith(f"{high + 1}-")


@given(st.integers(0, 2000), st.integers(0, 2000))
def test_only_bands_have_a_middle(low: int, high: int) -> None:
    """Against all bands of the range, listed."""
    bands = {"1-10", "11-15", *(f"{2**k}-{2 ** (k + 1) - 1}" for k in range(4, 12))}
    text = f"{low}-{high}"
    if text in bands:
        middle_of(text)
        assert most_of(text) == high
    else:
        for reader in (middle_of, most_of, delta_for):
            with pytest.raises(AdmissionError, match="band"):
                reader(text)


@pytest.mark.parametrize(("band", "delta"), [("1-10", 1e-2), ("11-15", 1 / 150), ("64-127", 1 / 1270)])
def test_delta_of_a_band(band: str, delta: float) -> None:
    assert delta_for(band) == delta


@given(st.integers(1, 10**9))
def test_delta_is_at_most_a_tenth_of_one_over_the_patients(number: int) -> None:
    """And no more than half of that below it, except where the band is suppressed: more would cost accuracy."""
    delta = delta_for(band_of(number))
    assert delta * 10 * number <= 1
    assert number < 11 or delta * 10 * number > 0.49


@pytest.mark.parametrize(
    "text",
    [
        "",
        "16",
        "16-",
        "-31",
        "16-32",
        "16-63",
        "8-15",
        " 16-31",
        "016-31",
        "16-31-63",
        "31-16",
        "\uff11\uff16-31",
        "a-b",
    ],
)
def test_malformed_band_is_refused(text: str) -> None:
    with pytest.raises(AdmissionError, match="band"):
        middle_of(text)


def test_band_of_absurd_length_is_refused() -> None:
    with pytest.raises(AdmissionError, match="band"):
        middle_of("1-" + "9" * 10_000)


@pytest.mark.parametrize("exponent", [31, 130, 2000])
def test_band_beyond_any_hospital_is_refused(exponent: int) -> None:
    """Its middle would overflow the weights: one site's claim would turn the mean into NaN."""
    with pytest.raises(AdmissionError, match="band"):
        middle_of(f"{2**exponent}-{2 ** (exponent + 1) - 1}")
