"""What a data set is called, and what it holds."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.data.identity import (
    StudyDigest,
    anchors_digest,
    content_digest,
    content_of,
    dataset_digest,
    image_digest,
)
from common.types import Study, StudyRecord

STUDY = StudyDigest(study_id="s1", patient_id="p1", image="a" * 64, report="b" * 64)
texts = st.text(max_size=4)
studies = st.lists(st.builds(StudyDigest, study_id=texts, patient_id=texts, image=texts, report=texts), max_size=5)


@given(held=studies, shuffled=st.randoms())
def test_content_digest_does_not_depend_on_order(held: list[StudyDigest], shuffled: Random) -> None:
    other = list(held)
    shuffled.shuffle(other)
    assert content_digest(held) == content_digest(other)


@pytest.mark.parametrize("field", ["study_id", "patient_id", "image", "report"])
def test_content_digest_changes_with_every_field(field: str) -> None:
    assert content_digest([STUDY]) != content_digest([replace(STUDY, **{field: "other"})])


def test_content_digest_changes_with_an_added_study_and_keeps_fields_apart() -> None:
    assert content_digest([STUDY]) != content_digest([STUDY, replace(STUDY, study_id="s2")])
    moved = replace(STUDY, study_id="s", patient_id="1p1")
    assert content_digest([STUDY]) != content_digest([moved])


def test_dataset_digest_tells_sites_and_data_sets_apart() -> None:
    digests = {dataset_digest(site=site, name=name) for site in ("north", "south") for name in ("chest", "head")}
    assert len(digests) == 4
    assert dataset_digest(site="ab", name="c") != dataset_digest(site="a", name="bc")


def test_image_digest_knows_shape_and_pixels() -> None:
    wide = np.arange(6, dtype=np.uint8).reshape(2, 3)
    other = wide.copy()
    other[1, 2] += 1
    assert len({image_digest(image) for image in (wide, wide.reshape(3, 2), other)}) == 3
    assert image_digest(np.asfortranarray(wide)) == image_digest(wide)


def test_public_studies_are_called_by_order_images_and_reports() -> None:
    def study(pixel: int, report: str) -> Study:
        return Study(StudyRecord("s", "p", report), np.full((2, 2), pixel, np.uint8))

    one, two = content_of(study(1, "a")), content_of(study(2, "b"))
    others = [[one, two], [two, one], [one], [one, content_of(study(2, "c"))], [one, content_of(study(3, "b"))]]
    assert len({anchors_digest(contents) for contents in others}) == len(others)
