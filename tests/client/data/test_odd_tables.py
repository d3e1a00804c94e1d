"""Tables that real departments write (WARDROUND_DATA/odd): the right value everywhere, and no study lost."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import wardround
from client.check.readiness import Readiness, examine
from client.data.folder import StudyFolder
from client.data.images import is_nearly_flat
from client.policy.site_config import study_folder
from client.policy.site_schema import SiteData
from common.types import Study

ODD = Path(os.environ.get("WARDROUND_DATA", Path(wardround.__file__).parents[1] / "shared" / "data")) / "odd"
FOLDERS = (
    "ages", "sexes", "header_case", "semicolons", "tabs", "cp1252", "long_report", "windows_paths", "twelve_bits",
    "same_patients",
)  # fmt: skip
NUM_STUDIES = 8

pytestmark = pytest.mark.skipif(not ODD.is_dir(), reason=f"needs the odd tables: no {ODD}")


def data(name: str, **changes: object) -> SiteData:
    return SiteData(**{"name": "odd", "adapter": "manifest", "root": ODD / name, **changes})  # type: ignore[arg-type]


def studies(name: str) -> list[Study]:
    folder: StudyFolder = study_folder(data(name))
    found = [item for item in folder.studies() if isinstance(item, Study)]
    assert len(found) == NUM_STUDIES, "a study was lost"
    return found


def readiness(name: str, **changes: object) -> Readiness:
    return examine(data(name, **changes), progress=lambda _: None)


@pytest.mark.parametrize("name", FOLDERS)
def test_no_study_is_lost_and_the_site_is_read(name: str) -> None:
    found = studies(name)
    assert {study.record.site for study in found} == {"north"}
    assert not any(is_nearly_flat(study.image) for study in found)


def test_ages_are_completed_years() -> None:
    assert [study.record.age for study in studies("ages")] == [45, 0, 0, 0, 90, 65, 90, None]
    assert readiness("ages").remarks.num_unread == {}


def test_sexes_are_read_and_numbers_are_counted_as_not_understood() -> None:
    assert [study.record.sex for study in studies("sexes")] == ["F", "M", "O", None, "M", "F", None, None]
    assert readiness("sexes").remarks.num_unread == {"sex": 2}


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("semicolons", "semicolons between fields, UTF-8"),
        ("tabs", "tabs between fields, UTF-8"),
        ("cp1252", "commas between fields, Windows-1252"),
        ("header_case", "commas between fields, UTF-8"),
    ],
)
def test_how_a_table_is_written_is_found_and_said(name: str, written: str) -> None:
    assert readiness(name).remarks.written == written


def test_accents_are_right() -> None:
    assert studies("cp1252")[0].record.report == "Épanchement pleural à gauche, 3° côte, étude 0."


def test_long_report_is_whole() -> None:
    assert [len(study.record.report) for study in studies("long_report")][3] == len("Clear lungs. " * 12_000) - 1


def test_twelve_bits_are_shown_over_the_grey_range() -> None:
    declared = [item for item in study_folder(data("twelve_bits", pixel_bits=12)).studies() if isinstance(item, Study)]
    for undeclared, twelve in zip(studies("twelve_bits"), declared, strict=True):
        for image in (undeclared.image, twelve.image):
            assert image.min() <= 16
            assert image.max() >= 240
            assert len(np.unique(image)) > 100


def test_patients_that_may_be_one_are_counted_and_settled() -> None:
    exact, folded = readiness("same_patients"), readiness("same_patients", same_patients="folded")
    # After the white space at its end is gone, one identifier is another: P7, p7, P 7, full-width P7; 007, 7; P8.
    assert (exact.num_patients, exact.remarks.num_alike) == (7, 7)
    assert (folded.num_patients, folded.remarks.num_alike) == (3, 0)
    assert not any("P7" in sentence or "007" in sentence for sentence in exact.remarks.sentences())
