"""One form for the ways that a word is written."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.terminology.words import form, is_one_edit, one_less, tokens

words = st.text(string.ascii_lowercase, min_size=1, max_size=9)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Effusions", "effusion"),
        ("masses", "mass"),
        ("metastases", "metastasis"),
        ("vertebrae", "vertebra"),
        ("thrombi", "thrombus"),
        ("arteries", "artery"),
        ("sinuses", "sinus"),
        ("diverticula", "diverticulum"),
        ("haemorrhage", "hemorrhage"),
        ("oedema", "edema"),
        ("tumours", "tumor"),
        ("oesophageal", "esophageal"),
        ("Crohn's", "Crohn"),
        ("cavernomas", "cavernoma"),
        ("discs", "disk"),
    ],
)
def test_forms_of_one_word_are_one(one: str, other: str) -> None:
    assert form(one) == form(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ileum", "ilium"),
        ("abscess", "access"),
        ("pelvis", "pelvic"),
        ("hypertension", "hypotension"),
        ("uterus", "ureter"),
    ],
)
def test_forms_of_two_words_are_two(one: str, other: str) -> None:
    assert form(one) != form(other)


@given(words)
def test_form_of_a_form_is_itself(word: str) -> None:
    assert form(form(word)) == form(word)


def edits(word: str) -> set[str]:
    """Every word that one edit makes, spelt out (Norvig's way)."""
    parts = [(word[:at], word[at:]) for at in range(len(word) + 1)]
    lost = {left + right[1:] for left, right in parts if right}
    swapped = {left + right[1] + right[0] + right[2:] for left, right in parts if len(right) > 1}
    changed = {left + letter + right[1:] for left, right in parts if right for letter in string.ascii_lowercase}
    added = {left + letter + right for left, right in parts for letter in string.ascii_lowercase}
    return (lost | swapped | changed | added) - {word}


@given(words, st.data())
def test_one_edit_is_what_spelling_out_every_edit_finds(word: str, data: st.DataObject) -> None:
    near = data.draw(st.sampled_from(sorted(edits(word))))
    assert is_one_edit(word, near)
    assert is_one_edit(near, word)
    assert set(one_less(word)) & set(one_less(near)) or sorted(word) == sorted(near)


@given(words, words)
def test_one_edit_is_never_found_where_there_is_none(word: str, other: str) -> None:
    assert is_one_edit(word, other) == (other in edits(word))


def test_tokens_say_where_they_stand() -> None:
    text = "Left-sided effusion (Crohn's), 60%"
    found = tokens(text)
    assert [token.text for token in found] == ["Left", "-", "sided", "effusion", "(", "Crohn's", ")", ",", "60", "%"]
    assert all(text[token.start : token.end] == token.text for token in found)
