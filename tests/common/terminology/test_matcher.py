"""The longest names, whatever the spelling; a known word stays itself."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.terminology.concepts import concepts, known_words
from common.terminology.matcher import LEAST_LETTERS, Matcher, matcher
from common.terminology.words import form, tokens

LONG = sorted({word for name in concepts().by_form for word in name if len(word) >= LEAST_LETTERS and word.isalpha()})


def meanings(text: str) -> list[str]:
    """Names of what a text names, by the words that stand there."""
    words = matcher().spelt(tokens(text))
    found = matcher().matches(words)
    return [text[words[match.first].start : words[match.last - 1].end] for match in found]


def codes(text: str) -> list[str]:
    return [match.concept.coded.code for match in matcher().matches(matcher().spelt(tokens(text)))]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("small bowel obstruction", ["small bowel obstruction"]),
        ("small-bowel obstruction", ["small-bowel obstruction"]),
        ("septal wall motion abnormality", ["septal wall motion abnormality"]),
        ("a mass in the kidney", ["mass in the kidney"]),
        ("Pleural effusions and masses", ["Pleural effusions", "masses"]),
        ("fracture of the hip", ["fracture of the hip"]),
        ("aneurysm of the brain", ["aneurysm of the brain"]),
        ("left kidney", ["kidney"]),
        ("left ventricle", ["left ventricle"]),
        ("L5-S1 disc herniation", ["L5-S1 disc", "disc herniation"]),
        ("right coronary artery disease", ["right coronary artery", "coronary artery disease"]),
        ("nothing of that kind", []),
        ("", []),
    ],
)
def test_matcher_finds_the_longest_names(text: str, named: list[str]) -> None:
    assert meanings(text) == named


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("plueral effusion", "pleural effusion"),
        ("pleural efusion", "pleural effusion"),
        ("hydrocephallus", "hydrocephalus"),
        ("menengioma", "meningioma"),
        ("haemorrhage", "hemorrhage"),
        ("Crohns disease", "Crohn's disease"),
        ("tumour of the lung", "lung tumor"),
    ],
)
def test_matcher_forgives_one_edit_and_british_spelling(written: str, meant: str) -> None:
    assert codes(written) == codes(meant) != []


@pytest.mark.parametrize("text", ["hydroceph", "mas", "edma", "hidrosephalus", "fusion of nothing"])
def test_matcher_forgives_no_more(text: str) -> None:
    assert "hydrocephalus" not in codes(text)
    assert "79654002" not in codes(text)
    assert "60046008" not in codes(text)


@settings(max_examples=200)
@given(st.sampled_from(sorted(known_words()) + LONG))
def test_known_word_is_never_taken_for_another(word: str) -> None:
    (token,) = tokens(word)
    assert matcher().spelt([token])[0].form == form(word)


def test_known_word_would_be_taken_for_another_by_a_matcher_that_did_not_know_it() -> None:
    careless = Matcher(concepts().by_form, [])
    taken = [word for word in known_words() if careless.spelt(tokens(word))[0].form != form(word)]
    assert len(taken) > 20


@settings(max_examples=60)
@given(st.sampled_from(sorted(concepts().by_form)))
def test_every_name_is_found_whole(name: tuple[str, ...]) -> None:
    words = matcher().spelt(tokens(" ".join(name)))
    if any(len(tokens(word)) != 1 for word in name):
        return
    found = matcher().matches(words)
    assert (found[0].first, found[0].last) == (0, len(words))
    assert found[0].concept == concepts().by_form[name]
