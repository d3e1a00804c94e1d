"""The list is read in earnest: forms, negation, innocent phrases, quotation marks; a wrong row is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.audits.terms import CATEGORIES, Terms, read_terms
from common.errors import ConfigError

TERMS = read_terms()


def categories(text: str, terms: Terms = TERMS) -> list[str]:
    return sorted(used.category for used in terms.used_in(text))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Patient CLAIMS chest pain.", ["doubt"]),
        ("The patient is non-compliant with treatment.", ["blame"]),
        ("noncompliance with dialysis", ["blame"]),
        ("Non compliant, belligerent.", ["blame", "stigma"]),
        ("Refused the lateral view.", ["blame"]),
        ("Known drug-seeker, frequent flyer.", ["stigma", "stigma"]),
        ('Says the pain is "unbearable".', ["doubt"]),
        ("Says the pain is \u201ca ten out of ten\u201d.", ["doubt"]),
        ("History of IV drug abuse", ["stigma"]),
    ],
)
def test_words_in_earnest_are_found(text: str, found: list[str]) -> None:
    assert categories(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "The patient is not non-compliant.",
        "No drug abuse. Denies alcohol abuse.",
        "He was never combative or agitated.",
        "Without any history of substance abuse.",
    ],
)
def test_negated_words_do_not_count(text: str) -> None:
    assert categories(text) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("No effusion. Patient refused the lateral view.", ["blame"]),
        ("No fracture, but the patient is uncooperative.", ["blame"]),
        ("Not only non-compliant.", ["blame"]),
        ("No sign of pneumonia in this known heavy smoker who is belligerent.", ["stigma"]),
    ],
)
def test_negation_ends_with_its_clause_and_its_scope(text: str, found: list[str]) -> None:
    assert categories(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "Aggressive lytic lesion with a wide zone of transition.",
        "Non-compliant balloon angioplasty; agitated saline was given.",
        'Classic "bat wing" appearance, the "tree-in-bud" pattern and a "double bubble" sign.',
        'A 5" segment, "R" marker, patient\'s left.',
        "Reclaims and refuse-derived are not words of the list; insisting on coverage is.",
        "Disproportionate pain.",
    ],
)
def test_innocent_words_do_not_count(text: str) -> None:
    assert categories(text) == []


def test_every_row_of_the_list_names_a_source_and_reads_its_own_words() -> None:
    for pattern, category, source, _ in TERMS.rows:
        assert category in CATEGORIES
        assert source == "wardround" or ", 10." in source
        assert pattern.pattern
    assert len(TERMS.rows) > 25


def test_negations_of_the_list_are_what_is_respected(tmp_path: Path) -> None:
    """The broken variant: a list without negations counts what is denied."""
    own = tmp_path / "own.csv"
    own.write_text("words,category,source,except\ncombative,stigma,mine,\n", encoding="utf-8")
    assert categories("Not combative.", read_terms(own)) == ["stigma"]
    assert categories("Not combative.") == []


def test_own_list_takes_the_place_of_the_package_s(tmp_path: Path) -> None:
    own = tmp_path / "own.csv"
    row = "schwierig,blame,eigene,schwierig zu beurteilen"
    own.write_text(f"words,category,source,except\n{row}\n", encoding="utf-8-sig")
    terms = read_terms(own)
    assert categories("Patient schwierig.", terms) == ["blame"]
    assert categories("Schwierig zu beurteilen. Patient refused.", terms) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("words,category\n", "has no column source"),
        ("words,category,source,except\nclaims,dout,me,\n", "line 2: category dout: .*doubt"),
        ("words,category,source,except\nclaims,doubt,me,\nx||y,doubt,me,\n", "line 3: words: empty"),
    ],
)
def test_wrong_list_names_file_line_and_remedy(tmp_path: Path, content: str, message: str) -> None:
    own = tmp_path / "own.csv"
    own.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"own\.csv.*{message}"):
        read_terms(own)


def test_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"own\.csv: the list of words cannot be read"):
        read_terms(tmp_path / "own.csv")
