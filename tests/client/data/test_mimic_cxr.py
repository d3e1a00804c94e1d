"""Adapter `mimic_cxr`: both published forms, joined with reports, labels, patients and the published split."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.data.mimic_cxr import mimic_cxr, published_split
from client.data.published_split import fixed_roles
from client.data.splits import Role
from common.errors import ConfigError, DataError
from common.types import BadRow, Lacks, Study, StudyRecord, Unpaired
from tests.client.data.adapters import studies_of
from tests.client.data.trees import SECRETS, greys, only, reason_of, write_csv, write_picture, write_text

METADATA = ["dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition", "StudyDate"]
REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___ year old with cough.

 FINDINGS:

 Clear
 lungs.

 IMPRESSION:

 No acute process.
"""


def row(image: str, *, patient: str = "10000032", study: str = "50414267", view: str = "PA") -> list[str]:
    return [image, patient, study, "CHEST (PA AND LAT)", view, "21800506"]


def jpg_form(root: Path, *rows: list[str], suffix: str = "") -> Path:
    """The JPG form, each image in its place, and a report for study 50414267 alone."""
    write_csv(root / f"mimic-cxr-2.0.0-metadata.csv{suffix}", [METADATA, *rows])
    for number, (image, patient, study, *_) in enumerate(rows):
        write_picture(root / f"files/p{patient[:2]}/p{patient}/s{study}/{image}.jpg", 10 * (number + 1))
    write_text(root / "files/p10/p10000032/s50414267.txt", REPORT)
    return root


def read(root: Path, *, allow_burned_in: bool = False, **options: str) -> list[Study | Unpaired | BadRow]:
    return studies_of(mimic_cxr(root, allow_burned_in=allow_burned_in, **options))


def test_mimic_cxr_joins_views_report_labels_and_patient(tmp_path: Path) -> None:
    root = jpg_form(tmp_path, row("a-1", view="LATERAL"), row("a-2", view=""), row("a-3", view="AP"), row("a-4"))
    write_csv(
        root / "mimic-cxr-2.0.0-chexpert.csv.gz",
        [
            ["subject_id", "study_id", "Edema", "No Finding", "Pleural Effusion", "Pneumonia"],
            ["10000032", "50414267", "1.0", "", "-1.0", "1.0"],
        ],
    )
    write_csv(
        root / "patients.csv.gz",
        [["subject_id", "gender", "anchor_age", "anchor_year", "dod"], ["10000032", "F", "52", "2178", ""]],
    )
    (study,) = read(root, site_column="PerformedProcedureStepDescription")
    assert isinstance(study, Study)
    assert study.record == StudyRecord(
        study_id="50414267",
        patient_id="10000032",
        report="Clear lungs.\nNo acute process.",
        sex="F",
        age=54,
        site="CHEST (PA AND LAT)",
        language="English",
        findings=("Edema", "Pneumonia"),
    )
    assert greys(study) == [40, 30, 20, 10]


def test_mimic_cxr_dicom_form_takes_the_views_of_the_headers(
    tmp_path: Path, write_instance: Callable[..., Path], ramp: np.ndarray[Any, np.dtype[np.int16]]
) -> None:
    names = {"b-1": "LATERAL", "b-2": "PA"}
    paths = {name: f"files/p10/p10000032/s50414267/{name}.dcm" for name in names}
    rows = [["10000032", "50414267", name, path] for name, path in paths.items()]
    write_csv(tmp_path / "cxr-record-list.csv.gz", [["subject_id", "study_id", "dicom_id", "path"], *rows])
    for number, (name, view) in enumerate(names.items()):
        write_instance(tmp_path / paths[name], ramp.T.copy() if number else ramp, ViewPosition=view)
    write_text(tmp_path / "mimic-cxr-reports/files/p10/p10000032/s50414267.txt", REPORT)
    (study,) = read(tmp_path)
    assert isinstance(study, Study)
    assert (study.record.report, study.record.age) == ("Clear lungs.\nNo acute process.", None)
    assert study.image[0, -1] > study.image[-1, 0]  # the ramp lies on its side in the PA view
    np.testing.assert_array_equal(study.image, study.other_images[0].T)
    write_instance(tmp_path / paths["b-1"], BurnedInAnnotation="YES")
    assert reason_of(read(tmp_path)[0]).startswith("image has burned-in annotation")
    assert isinstance(read(tmp_path, allow_burned_in=True)[0], Study)


def test_mimic_cxr_studies_without_report_and_reports_without_study_are_unpaired(tmp_path: Path) -> None:
    root = jpg_form(tmp_path, row("a-1"), row("c-1", study="50000002"))
    write_text(root / "files/p10/p10000032/s50000009.txt", REPORT)
    paired, without_report, without_image = read(root)
    assert isinstance(paired, Study)
    assert isinstance(without_report, Unpaired)
    assert isinstance(without_image, Unpaired)
    assert (without_report.lacks, without_report.record.study_id) == (Lacks.REPORT, "50000002")
    assert "mimic-cxr-reports.zip" in without_report.remedy
    assert (without_image.lacks, without_image.record.study_id) == (Lacks.IMAGE, "50000009")
    assert without_image.record.report == "Clear lungs.\nNo acute process."


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (["../../../../../etc/hostname", "10000032", "50000002"], "image path leaves the data root"),
        (["../" * 9 + "outside", "10000032", "50000002"], "image path leaves the data root"),
        (["gone", SECRETS[1], "50000002"], "image file is missing"),
        (["", "10000032", "50000002"], "dicom_id is empty"),
        (["x", "", "50000002"], "subject_id is empty"),
        (["x", "10/../..", "50000002"], "subject_id is not a number"),
        (["x", SECRETS[1], "../50000002"], "study_id is not a number"),
        (["a-1", "10000032", "50414267"], "image repeats that of line 2"),
        (["x"], "the row has 1 fields"),
    ],
)
def test_mimic_cxr_lists_a_bad_row_and_reads_on(tmp_path: Path, bad: list[str], reason: str) -> None:
    root = jpg_form(tmp_path / "root", row("a-1"))
    write_picture(tmp_path / "outside.jpg", 9)
    bad = [*bad, *[""] * (6 - len(bad))] if len(bad) > 1 else bad
    write_csv(root / "mimic-cxr-2.0.0-metadata.csv", [METADATA, row("a-1"), bad])
    before, found = read(root)
    assert isinstance(before, Study)
    assert isinstance(found, BadRow)
    assert (found.file, found.row) == ("mimic-cxr-2.0.0-metadata.csv", 3)
    assert reason_of(found).startswith(reason)


def test_mimic_cxr_a_study_with_one_broken_view_or_of_two_patients_is_one_bad_row(tmp_path: Path) -> None:
    root = jpg_form(tmp_path, row("a-1"), row("a-2", view="LATERAL"))
    picture = root / "files/p10/p10000032/s50414267/a-2.jpg"
    picture.write_bytes(picture.read_bytes()[:100])
    found = only(mimic_cxr(root, allow_burned_in=False))
    assert isinstance(found, BadRow)
    assert found.row == 3
    assert reason_of(found).startswith("image cannot be decoded")
    jpg_form(root, row("a-1"), row("a-2", patient="10000099"))
    (found,) = read(root)
    assert reason_of(found) == "names another patient than line 2 of the same study; correct it"


def test_mimic_cxr_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    root = jpg_form(tmp_path / "root", row("a-1"))
    picture = root / "files/p10/p10000032/s50414267/a-1.jpg"
    picture.rename(tmp_path / "outside.jpg")
    picture.symlink_to(tmp_path / "outside.jpg")
    assert reason_of(read(root)[0]).startswith("image path leaves the data root")
    jpg_form(root / "again", row("a-1"))
    report = root / "again/files/p10/p10000032/s50414267.txt"
    report.unlink()
    report.symlink_to(write_text(tmp_path / "secret.txt", SECRETS[0]))
    assert reason_of(read(root / "again")[0]).startswith("report file leaves the data root")


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"\xff\xfe\x00", "report file is not UTF-8"), (b"x" * (1 << 20) + b"x", "report file holds more than 1,048,576")],
)
def test_mimic_cxr_a_damaged_report_is_a_bad_row(tmp_path: Path, content: bytes, reason: str) -> None:
    root = jpg_form(tmp_path, row("a-1"))
    (root / "files/p10/p10000032/s50414267.txt").write_bytes(content)
    assert reason_of(read(root)[0]).startswith(reason)


def test_mimic_cxr_tables_that_cannot_be_read_stop_before_the_first_item(tmp_path: Path) -> None:
    root = jpg_form(tmp_path, row("a-1"), suffix=".gz")
    assert isinstance(read(root)[0], Study)
    table = root / "mimic-cxr-2.0.0-metadata.csv.gz"
    table.write_bytes(table.read_bytes()[:-12])
    with pytest.raises(DataError, match=r"metadata\.csv\.gz: damaged \(gzip\); fetch it again"):
        read(root)
    write_csv(table, [["dicom_id", "subject", "study_id"]])
    with pytest.raises(DataError, match="column subject_id is missing; did you mean subject"):
        read(root)


@pytest.mark.parametrize(
    ("anchor_age", "date"), [("52", ""), ("52", "soon"), ("", "21800506"), ("9" * 5000, "21800506")]
)
def test_mimic_cxr_age_needs_the_year_of_the_study_and_its_anchor(tmp_path: Path, anchor_age: str, date: str) -> None:
    root = jpg_form(tmp_path, [*row("a-1")[:5], date])
    header = ["subject_id", "gender", "anchor_age", "anchor_year"]
    write_csv(root / "patients.csv", [header, ["10000032", "?", anchor_age, "2178"]])
    (study,) = read(root)
    assert isinstance(study, Study)
    assert (study.record.sex, study.record.age, study.record.unread) == (None, None, ())


def test_mimic_cxr_published_split_is_by_patient(tmp_path: Path) -> None:
    header = ["dicom_id", "study_id", "subject_id", "split"]
    sides = [("10", "train"), ("11", "test"), ("12", "validate"), ("10", "train")]
    rows = [[f"i{number}", str(number), patient, side] for number, (patient, side) in enumerate(sides)]
    write_csv(tmp_path / "mimic-cxr-2.0.0-split.csv.gz", [header, *rows])
    assert fixed_roles(tmp_path, adapter="mimic_cxr", split="published") == {"10": Role.TRAIN, "11": Role.TEST}
    write_csv(tmp_path / "mimic-cxr-2.0.0-split.csv.gz", [header, *rows, ["e", "5", "10", "test"]])
    with pytest.raises(DataError, match="line 6: puts a patient on a second side"):
        published_split(tmp_path)
    with pytest.raises(ConfigError, match=r"data\.split=published data\.adapter=padchest: unknown"):
        fixed_roles(tmp_path, adapter="padchest", split="published")


def test_mimic_cxr_order_is_that_of_the_first_rows_whatever_the_disk_says(tmp_path: Path) -> None:
    root = jpg_form(tmp_path, row("c", study="53"), row("a", study="51"), row("d", study="53"), row("b", study="52"))
    for name in ("s59", "s58"):
        write_text(root / f"files/p10/p10000032/{name}.txt", REPORT)
    os.utime(root / "files/p10/p10000032/s59.txt", (0, 0))
    found = read(root)
    assert [item.record.study_id for item in found if isinstance(item, Unpaired)] == [
        *("53", "51", "52"),
        *("50414267", "58", "59"),
    ]
