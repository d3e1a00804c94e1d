"""The tables are what pydicom ships, and each concept is narrower than what it is a kind or a part of."""

import csv
from collections import Counter
from pathlib import Path

import pytest

import common.terminology
from common.terminology.coded import SCHEMES, Coded
from common.terminology.concepts import GROUPS, Concept, concepts
from tests.common.terminology.shipped_concepts import files

FOLDER = Path(common.terminology.__file__).parent


def named(name: str) -> Concept:
    return concepts().by_form[tuple(name.split())]


@pytest.mark.parametrize("file", dict(files()))
def test_tables_are_what_the_installed_pydicom_ships(file: str) -> None:
    assert (FOLDER / file).read_text(encoding="utf-8") == dict(files())[file], (
        "made anew by: python -m tests.common.terminology.shipped_concepts"
    )


def test_own_table_says_one_thing_once_and_refers_to_what_there_is() -> None:
    rows = list(csv.DictReader((FOLDER / "own_concepts.csv").read_text(encoding="utf-8").splitlines()))
    assert not [
        name for name, times in Counter(name for row in rows for name in row["names"].split("|")).items() if times > 1
    ]
    assert not [key for key, times in Counter((row["scheme"], row["code"]) for row in rows).items() if times > 1]
    known = {":".join(key) for key in concepts().by_code}
    assert not [row["broader"] for row in rows if row["broader"] and row["broader"] not in known]
    assert {row["group"] for row in rows} <= set(GROUPS)


def test_every_concept_has_a_scheme_of_the_grammar_and_a_short_meaning() -> None:
    for concept in concepts().by_code.values():
        assert concept.coded.scheme in SCHEMES
        assert 0 < len(concept.coded.meaning) <= 160
        assert len(concept.coded.code) <= 32


@pytest.mark.parametrize(
    ("name", "scheme", "code", "group"),
    [
        ("pleural effusion", "SCT", "60046008", "finding"),
        ("tricuspid regurgitation", "SCT", "111287006", "finding"),
        ("pneumothorax", "SCT", "36118008", "finding"),
        ("kidney", "SCT", "64033007", "anatomy"),
        ("interventricular septum", "SCT", "589001", "anatomy"),
        ("lymph node", "SCT", "59441001", "anatomy"),
        ("glioblastoma", "SCT", "1163375002", "finding"),
        ("hydrocephalus", "99WARDROUND", "hydrocephalus", "finding"),
        ("nephrectomy", "99WARDROUND", "nephrectomy", "procedure"),
    ],
)
def test_name_means_its_concept(name: str, scheme: str, code: str, group: str) -> None:
    found = named(name)
    assert (found.coded.scheme, found.coded.code, found.group) == (scheme, code, group)


@pytest.mark.parametrize(
    ("narrow", "broad"),
    [
        ("pleural effusion", "effusion"),
        ("subdural hematoma", "hematoma"),
        ("subdural hematoma", "hemorrhage"),
        ("pilocytic astrocytoma", "astrocytoma"),
        ("pilocytic astrocytoma", "glioma"),
        ("lobar pneumonia", "pneumonia"),
        ("upper lobe", "lung"),
        ("pleural effusion", "pleural effusion"),
        ("acute pancreatitis", "pancreatitis"),
    ],
)
def test_kind_or_part_is_narrower_and_not_the_other_way_round(narrow: str, broad: str) -> None:
    one, other = named(narrow).coded, named(broad).coded
    assert concepts().is_narrower(one, other)
    assert narrow == broad or not concepts().is_narrower(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("pleural effusion", "pericardial effusion"),
        ("gallbladder", "bladder"),
        ("pseudo aneurysm", "aneurysm"),
        ("kidney", "renal cell carcinoma"),
        ("upper lobe", "liver"),
        ("pneumonia", "pneumothorax"),
    ],
)
def test_neighbours_are_not_narrower(one: str, other: str) -> None:
    assert not concepts().is_narrower(named(one).coded, named(other).coded)


def test_unknown_concept_is_known_as_such() -> None:
    effusion = named("pleural effusion").coded
    assert concepts().known(effusion)
    assert not concepts().known(Coded("SCT", effusion.code, "All patients"))
    assert not concepts().known(Coded("SCT", "0", "Pleural effusion"))
    assert not concepts().is_narrower(Coded("SCT", "0", "x"), effusion)
