"""Where concepts lie: as the table says, only where all names say it, and no row for nothing."""

import csv
from importlib import resources

import pytest

from common.terminology.body import REGIONS, Body, body_of
from common.terminology.coded import Coded
from common.terminology.concepts import concepts
from common.terminology.words import tokens


def body(name: str) -> Body:
    return body_of(concepts().by_form[tuple(name.split())].coded)


@pytest.mark.parametrize(
    ("name", "regions"),
    [
        ("mitral regurgitation", {"chest"}),
        ("parotid gland", {"head", "neck"}),
        ("appendicitis", {"belly"}),
        ("knee", {"leg"}),
        ("carotid artery", {"head", "neck", "chest"}),
        ("cervical spine", set()),  # "cervical" is of the womb as well
        ("bowel perforation", set()),  # also called perforation
        ("prostate cancer", set()),  # spreads
        ("pulmonary embolism", set()),  # travels
        ("fracture", set()),
    ],
)
def test_concept_lies_where_each_of_its_names_says(name: str, regions: set[str]) -> None:
    assert body(name).regions == regions


@pytest.mark.parametrize(
    ("name", "sex", "side"),
    [
        ("prostate cancer", "M", ""),
        ("prostate", "M", "one"),
        ("ovarian cyst", "F", ""),
        ("breast", "", ""),
        ("middle lobe", "", "right"),
        ("kidney", "", ""),
    ],
)
def test_sex_and_side_are_those_of_the_names(name: str, sex: str, side: str) -> None:
    assert (body(name).sex, body(name).side) == (sex, side)


def test_unknown_concept_may_lie_anywhere() -> None:
    assert body_of(Coded("SCT", "0", "Knee")) == Body()


def test_each_row_is_well_formed_and_says_something_of_a_concept() -> None:
    text = (resources.files("common.terminology") / "body.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    names = [f" {' '.join(form)} " for concept in concepts().by_code.values() for form in concept.forms]
    spelt = "\n".join(names)
    for row in rows:
        assert REGIONS.issuperset(row["lies"].split()), row
        assert row["sex"] in {"", "F", "M"}, row
        assert row["side"] in {"", "left", "right", "one"}, row
        words = row["words"]
        whole = " ".join(token.form for token in tokens(words))
        assert (f" {words[:-1]}" if words.endswith("*") else f" {whole} ") in spelt, f"{words} is in no name"
    assert [row["words"] for row in rows] == sorted({row["words"] for row in rows})
