"""The plain form of words: what is not seen goes, what looks Latin is, and the form of a form is itself."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.mediator.sanitise import MOST_CHARACTERS, sanitise
from common.errors import PlanError


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("no\u200b effusion", "no effusion"),
        ("n\u200bo effusion", "no effusion"),
        ("\u202eno\u202c effusion", "no effusion"),
        ("pneu\u00admonia", "pneumonia"),
        ("n\u043e effusion", "no effusion"),
        ("\u0440n\u0435umothora\u0445", "pneumothorax"),
        ("\uff4e\uff4f  effusion", "no effusion"),
        ("\U0001d427\U0001d428 effusion", "no effusion"),
        ("n\u0336o\u0336 effusion", "no effusion"),
        ("no\teffusion\r\n left", "no effusion left"),
        ("no\U000e0041 effusion", "no effusion"),
    ],
)
def test_words_come_into_their_plain_form(query: str, text: str) -> None:
    plain = sanitise(query)
    assert plain.text == text
    assert plain.changes or query.split() == text.split()


@pytest.mark.parametrize("query", ["Sj\u00f6gren syndrome", "\u03b2-thalassaemia", "T2 < 3 cm, \u00b15", "CT of L5-S1"])
def test_words_that_mean_what_they_show_stay(query: str) -> None:
    assert sanitise(query).text == query
    assert sanitise(query).changes == ()


@given(st.text(max_size=60))
def test_plain_form_is_its_own(query: str) -> None:
    text = sanitise(query).text
    assert sanitise(text).text == text
    assert not any(unicodedata.category(letter) in {"Cc", "Cf", "Co", "Cs"} for letter in text)


def test_too_many_words_are_refused_before_and_after() -> None:
    with pytest.raises(PlanError, match="2,000 characters"):
        sanitise("x" * (MOST_CHARACTERS + 1))
    with pytest.raises(PlanError, match="2,000 characters"):
        sanitise("\ufdfa" * (MOST_CHARACTERS // 2))  # one character that becomes eighteen


@pytest.mark.parametrize(
    ("query", "language"),
    [
        ("pleural effusion without pneumothorax", "English"),
        ("Patienten mit Pneumonie und ohne Erguss", "German"),
        ("pneumonie sans \u00e9panchement chez une femme", "French"),
        ("\u0431\u0435\u0437 \u0432\u044b\u043f\u043e\u0442\u0430", "Cyrillic"),
    ],
)
def test_language_is_guessed(query: str, language: str) -> None:
    assert sanitise(query).language == language
