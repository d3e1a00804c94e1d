"""Adapter `chexpert`: CheXpert Plus with its reports, and plain CheXpert, whose studies are unpaired."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from client.data.chexpert import chexpert
from client.data.published_split import fixed_roles
from client.data.splits import Role
from common.errors import DataError
from common.types import BadRow, Lacks, Study, StudyRecord, Unpaired
from tests.client.data.adapters import studies_of
from tests.client.data.trees import SECRETS, greys, only, reason_of, write_csv, write_picture

PLUS = [
    *("path_to_image", "path_to_dcm", "frontal_lateral", "ap_pa", "deid_patient_id", "patient_report_date_order"),
    *("report", "section_findings", "section_impression", "age", "sex", "race", "split"),
]
PLAIN = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", "No Finding", "Edema", "Fracture", "Support Devices"]


def plus_row(image: str, **changes: str) -> list[str]:
    values = {
        "path_to_image": f"train/patient1/study1/{image}.jpg",
        "path_to_dcm": f"train/patient1/study1/{image}.dcm",
        "frontal_lateral": "Lateral" if "lateral" in image else "Frontal",
        "ap_pa": "" if "lateral" in image else "AP",
        "deid_patient_id": "patient1",
        "patient_report_date_order": "1",
        "report": "NARRATIVE: all of it.",
        "section_findings": "Clear\nlungs.",
        "section_impression": "1. Normal.",
        "age": "52.0",
        "sex": "Female",
        "race": "Asian",
        "split": "train",
    }
    return [(values | changes)[column] for column in PLUS]


def plus(root: Path, *rows: list[str]) -> Path:
    write_csv(root / "df_chexpert_plus_240401.csv", [PLUS, *rows])
    return root


def read(root: Path) -> list[Study | Unpaired | BadRow]:
    return studies_of(chexpert(root, allow_burned_in=False))


def test_chexpert_plus_groups_views_by_report_and_reads_its_sections(tmp_path: Path) -> None:
    root = plus(tmp_path, plus_row("view2_lateral"), plus_row("view1_frontal"))
    write_picture(root / "PNG/train/patient1/study1/view2_lateral.png", 20)
    write_picture(root / "train/patient1/study1/view1_frontal.jpg", 10)
    study = only(chexpert(root, allow_burned_in=False, site_column="split"))
    assert isinstance(study, Study)
    assert study.record == StudyRecord(
        study_id="patient1/1",
        patient_id="patient1",
        report="Clear lungs.\n1. Normal.",
        sex="F",
        age=52,
        race="Asian",
        language="English",
        site="train",
    )
    assert greys(study) == [10, 20]


def test_chexpert_plus_falls_back_to_the_whole_report_and_to_the_instance(
    tmp_path: Path, write_instance: Callable[..., Path]
) -> None:
    blank = {"section_findings": "", "section_impression": ""}
    root = plus(tmp_path, plus_row("a", **blank), plus_row("b", **blank, report=" ", patient_report_date_order="2"))
    for name in ("a", "b"):
        write_instance(root / f"DICOM/train/patient1/study1/{name}.dcm")
    whole, nothing = read(root)
    assert isinstance(whole, Study)
    assert whole.record.report == "NARRATIVE: all of it."
    assert len(np.unique(whole.image)) > 1
    assert isinstance(nothing, Unpaired)
    assert nothing.lacks is Lacks.REPORT


def test_chexpert_plain_is_unpaired_with_its_labels_whatever_its_first_folder(tmp_path: Path) -> None:
    rows = [["CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg", "Female", "68", "Frontal", "AP",
             "", "1.0", "-1.0", "1.0"],
            ["CheXpert-v1.0-small/train/patient00001/study1/view2_lateral.jpg", "Female", "68", "Lateral", "",
             "", "1.0", "-1.0", "1.0"]]  # fmt: skip
    valid = [["CheXpert-v1.0-small/valid/patient64541/study1/view1_frontal.jpg", "Unknown", "300", "Frontal", "AP",
              "1.0", "0.0", "0.0", "0.0"]]  # fmt: skip
    write_csv(tmp_path / "train.csv", [PLAIN, *rows])
    write_csv(tmp_path / "valid.csv", [PLAIN, *valid])
    write_picture(tmp_path / "train/patient00001/study1/view1_frontal.jpg", 10)
    write_picture(tmp_path / "CheXpert-v1.0-small/train/patient00001/study1/view2_lateral.jpg", 20)
    write_picture(tmp_path / "valid/patient64541/study1/view1_frontal.jpg", 30)
    train, held_out = read(tmp_path)
    assert isinstance(train, Unpaired)
    assert isinstance(held_out, Unpaired)
    assert train.record == StudyRecord(
        study_id="patient00001/study1",
        patient_id="patient00001",
        report="",
        sex="F",
        age=68,
        findings=("Edema", "Support Devices"),
    )
    assert (train.lacks, "df_chexpert_plus_240401.csv" in train.remedy) == (Lacks.REPORT, True)
    assert (held_out.record.sex, held_out.record.age, held_out.record.unread) == (None, None, ("age",))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"path_to_image": "../outside.jpg", "path_to_dcm": ""}, "image path leaves the data root"),
        ({"path_to_image": "/etc/hostname", "path_to_dcm": "../outside.jpg"}, "image path leaves the data root"),
        ({"path_to_image": "/", "path_to_dcm": ""}, "image path leaves the data root"),
        ({"path_to_image": ".", "path_to_dcm": ""}, "image file is missing"),
        ({"path_to_image": ""}, "path_to_image is empty"),
        ({"path_to_image": "a\0b"}, "image path is not a usable file name"),
        ({"deid_patient_id": ""}, "deid_patient_id is empty"),
        ({"deid_patient_id": SECRETS[1]}, "image file is missing"),
        ({"path_to_dcm": "../outside.jpg"}, "image path leaves the data root"),
    ],
)
def test_chexpert_lists_a_bad_row_and_reads_on(tmp_path: Path, changes: dict[str, str], reason: str) -> None:
    write_picture(tmp_path / "outside.jpg", 9)
    defaults = {"patient_report_date_order": "2", "report": SECRETS[0]}
    root = plus(tmp_path / "root", plus_row("gone", **(defaults | changes)), plus_row("a"))
    write_picture(root / "train/patient1/study1/a.jpg", 10)
    found, after = read(root)
    assert reason_of(found).startswith(reason)
    assert isinstance(after, Study)


def test_chexpert_plain_path_that_names_no_patient_is_a_bad_row(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", [PLAIN, [f"train/{SECRETS[0]}.jpg", *[""] * 8]])
    assert reason_of(read(tmp_path)[0]) == "Path names no patient and study; correct it"


def test_chexpert_without_a_table_names_those_that_it_reads(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"df_chexpert_plus_240401\.csv or train\.csv or valid\.csv cannot be read"):
        read(tmp_path)


def test_chexpert_published_split_holds_valid_out(tmp_path: Path) -> None:
    plus(tmp_path, plus_row("a"), plus_row("b", deid_patient_id="patient2", split="valid"))
    assert fixed_roles(tmp_path, adapter="chexpert", split="published") == {
        "patient1": Role.TRAIN,
        "patient2": Role.TEST,
    }
