"""Ages and sexes as departments write them."""

from __future__ import annotations

import pytest

from client.data.demographics import UnreadValue, age_of, sex_of


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("67", 67),
        ("67.9", 67),
        ("65,0", 65),
        (" 5 ", 5),
        ("120", 120),
        ("045Y", 45),
        ("008M", 0),
        ("030M", 2),
        ("003W", 0),
        ("110W", 2),
        ("010D", 0),
        ("731D", 2),
        ("90+", 90),
        (">89", 90),
        ("> 89", 90),
        (">=90", 90),
        ("90Y+", 90),
        ("45 years", 45),
        ("45 y/o", 45),
        ("6 months", 0),
    ],
)
def test_age_is_completed_years(text: str, age: int) -> None:
    assert age_of(text) == age


@pytest.mark.parametrize("text", ["", " ", "NA", "n/a", "NaN", "-", "Unknown", "None"])
def test_blank_age_and_sex_are_unknown_and_no_fault(text: str) -> None:
    assert age_of(text) is None
    assert sex_of(text) is None


@pytest.mark.parametrize("text", ["121", "999Y", ">120", "-1", "sixty", "1950-03-01", "45X", "4 5", "1e2", "45 of 90"])
def test_age_that_is_not_understood_is_told_apart_from_a_blank(text: str) -> None:
    with pytest.raises(UnreadValue):
        age_of(text)


@pytest.mark.parametrize(
    ("text", "sex"),
    [("F", "F"), ("m", "M"), ("O", "O"), ("Male", "M"), ("female", "F"), ("WEIBLICH", "F"), ("Männlich", "M"),
     ("Femme", "F"), ("Homme", "M"), ("U", None), ("other", "O")],
)  # fmt: skip
def test_sex_is_read_in_words(text: str, sex: str | None) -> None:
    assert sex_of(text) == sex


@pytest.mark.parametrize("text", ["1", "2", "0", "9", "x1", "fm"])
def test_sex_in_numbers_is_not_guessed(text: str) -> None:
    with pytest.raises(UnreadValue):
        sex_of(text)
