"""Acronyms mean what stands beside them says; where nothing does, nobody guesses."""

import csv
from pathlib import Path

import pytest

import common.terminology
from common.terminology.acronyms import acronyms
from common.terminology.concepts import concepts
from common.terminology.modifiers import MODALITIES
from common.terminology.words import tokens


def senses(text: str) -> list[list[str]]:
    return [[sense.coded.meaning.lower() for sense in one.senses] for one in acronyms(tokens(text))]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("mild TR of the tricuspid valve", "tricuspid regurgitation"),
        ("MS plaques in the brain", "multiple sclerosis"),
        ("MS with a dilated atrium on echo", "mitral stenosis"),
        ("PE in a segmental pulmonary artery", "pulmonary embolism"),
        ("PE and tamponade", "pericardial effusion"),
        ("PE layering, thoracentesis", "pleural effusion"),
        ("AS of the aortic valve", "aortic stenosis"),
        ("AS with sacroiliac fusion", "ankylosing spondylitis"),
        ("AML of the kidney", "angiomyolipoma"),
        ("AML with blasts", "leukemia"),
        ("MR of the brain", "magnetic resonance"),
        ("MR of the mitral valve", "mitral regurgitation"),
        ("SDH", "subdural hematoma"),
    ],
)
def test_acronym_means_what_stands_beside_it_says(text: str, meant: str) -> None:
    assert senses(text)[0] == [meant]


@pytest.mark.parametrize(("text", "number"), [("MS", 2), ("PE", 3), ("AS", 2), ("MS of the valve in the brain", 2)])
def test_acronym_that_nothing_explains_keeps_its_meanings(text: str, number: int) -> None:
    assert len(senses(text)[0]) == number


@pytest.mark.parametrize("text", ["as in the chest", "such as masses", "la grange", "the abc of it", "Ms Smith"])
def test_common_word_in_small_letters_is_no_acronym(text: str) -> None:
    assert senses(text) == []


def test_acronym_of_a_side_says_the_side() -> None:
    (one,) = acronyms(tokens("RUL nodule"))
    assert [(sense.coded.meaning.lower(), sense.laterality) for sense in one.senses] == [
        ("upper lobe of lung", "right")
    ]


def test_table_names_what_there_is_and_tells_meanings_apart() -> None:
    text = (Path(common.terminology.__file__).parent / "acronyms.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    several = {row["acronym"] for row in rows if [other["acronym"] for other in rows].count(row["acronym"]) > 1}
    for row in rows:
        assert (row["scheme"], row["code"]) in concepts().by_code or row["code"] in MODALITIES
        assert row["source"]
        assert row["beside"] or row["acronym"] not in several
