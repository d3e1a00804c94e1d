"""Looks are found without labels where a letter lies; what they go with is found, and told where it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.audits.audit import BiasAudit
from client.audits.features import fit_features
from client.audits.interface import Audited, Verdict
from client.audits.looks import GRID, Looks, Place, looks_of
from client.audits.page import render
from client.audits.regions import LATE, Example, audit_regions
from client.audits.studies import AuditedStudies
from tests.client.audits.cohorts import misfiled, studies

LETTER = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1], [1, 0, 0], [1, 0, 0]], dtype=bool)


def lettered(seed: int, bearing: np.ndarray, *, side: int = 64) -> np.ndarray:
    """Noise of any exposure, with a letter in the lower left of some."""
    rng = np.random.default_rng(seed)
    level = rng.uniform(60, 160, size=(len(bearing), 1, 1))
    pictures = level + rng.normal(0.0, 6.0, size=(len(bearing), side, side))
    scale = side // 64
    letter = LETTER.repeat(scale, axis=0).repeat(scale, axis=1)
    for row in np.flatnonzero(bearing):
        pictures[row, 54 * scale : 59 * scale, 4 * scale : 7 * scale][letter] = 250.0
    return np.clip(pictures, 0, 255).astype(np.uint8)


def best(looks: Looks, bearing: np.ndarray) -> tuple[int, float]:
    """The look that goes best with what bears the letter, and their correlation."""
    agreement = [np.corrcoef(bearing, present)[0, 1] for present in looks.present.T]
    return int(np.argmax(agreement)), float(np.max(agreement))


@pytest.mark.parametrize("side", [64, 128])
def test_a_letter_is_a_look_of_its_place_whatever_the_exposure(side: int) -> None:
    bearing = np.arange(120) % 3 == 0
    looks = looks_of(list(lettered(0, bearing, side=side)))
    look, agreement = best(looks, bearing)
    assert looks.places[look].words == "lower left"
    assert agreement > 0.85
    assert set(np.unique(looks.present)) == {0.0, 1.0}


def test_pictures_that_are_all_the_same_have_no_look() -> None:
    assert looks_of([np.zeros((64, 64), dtype=np.uint8)] * 5).present.shape == (5, 0)


@given(number=st.integers(min_value=0, max_value=GRID**2 - 1), side=st.sampled_from([64, 224]))
def test_window_of_a_place_lies_in_the_picture_where_its_words_say(number: int, side: int) -> None:
    rows, columns = Place(number).window(side)
    assert 0 <= rows.start < rows.stop <= side and rows.stop - rows.start == side // 4 == columns.stop - columns.start
    middle = (rows.start + rows.stop) / 2 / side
    assert ("upper" in Place(number).words, "lower" in Place(number).words) == (middle < 0.3, middle > 0.7)


def audited(drawn: AuditedStudies) -> Audited:
    features = fit_features(drawn)
    images, reports = features.images(list(drawn.pictures)), features.reports([r.report for r in drawn.records])
    return audit_regions(drawn, images, reports)


@pytest.fixture(scope="module")
def clean() -> Audited:
    return audited(studies(1, images=True, patients=200))


def test_planted_marker_is_found_where_it_lies_and_its_clean_twin_is_silent(clean: Audited) -> None:
    planted = audited(studies(1, "marker", images=True, patients=200))
    assert [finding.subject for finding in planted.found] == ["race, by region"]
    assert "lower" in planted.found[0].sentence
    assert not clean.found
    examples: list[Example] = planted.figure["examples"]
    race = next(example for example in examples if example.subject == "race, by region")
    rows, columns = race.place.window(64)
    brightest = [[picture[rows, columns].max() for picture in kind] for kind in (race.bearing, race.others)]
    assert min(brightest[0]) >= 225 > max(brightest[1])


def test_what_sex_and_disease_look_like_is_shown_and_not_counted(clean: Audited) -> None:
    verdicts = {one.subject: one.verdict for one in clean.findings}
    assert verdicts["sex, by region"] is Verdict.EXPECTED
    assert verdicts["cardiomegaly, by region"] is Verdict.EXPECTED
    assert Verdict.FOUND not in verdicts.values()


def test_a_unit_whose_studies_are_misfiled_is_found_by_its_marker() -> None:
    found = {finding.subject: finding for finding in audited(misfiled(1, patients=400)).found}
    assert "lower" in found[LATE].sentence


def test_without_patients_enough_it_cannot_be_told() -> None:
    drawn = studies(1, images=True, patients=8)
    assert [one.verdict for one in audited(drawn).findings] == [Verdict.CANNOT_TELL]


def test_a_look_of_one_patients_many_studies_goes_with_nothing() -> None:
    """Fifteen studies of one patient with a letter; the broken variant takes them for fifteen patients."""
    drawn = studies(1, images=True, patients=60)
    records = [replace(r, race="Black" if i < 15 else "White") for i, r in enumerate(drawn.records)]
    records[:15] = [replace(record, patient_id="often") for record in records[:15]]
    pictures = lettered(3, np.arange(len(records)) < 15)
    many = replace(drawn, records=tuple(records), pictures=pictures)
    assert best(looks_of(list(pictures)), np.arange(len(records)) < 15)[1] > 0.85
    assert "race, by region" not in {finding.subject for finding in audited(many).found}
    apart = replace(many, records=tuple(replace(r, patient_id=r.study_id) for r in records))
    assert "race, by region" in {finding.subject for finding in audited(apart).found}


def test_page_holds_examples_in_itself_and_json_holds_none() -> None:
    pictures = tuple(lettered(0, np.array([True, False])))
    example = Example(subject="race, by region", place=Place(42), bearing=pictures[:1], others=pictures[1:])
    one = Audited(name="regions", question="Which?", findings=(), figure={"examples": [example]})
    bias = BiasAudit(title="here", num_studies=2, num_patients=2, num_left_out=0, audits=(one,))
    page = render(bias)
    assert page.count("data:image/png;base64,") == 2
    assert 'x="0.0" y="75.0" width="25.0"' in page
    assert "png" not in str(bias.as_json())
