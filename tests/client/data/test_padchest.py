"""Adapter `padchest`: Spanish reports, 16-bit pictures, labels that are a list as text."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from client.data.padchest import padchest
from common.types import BadRow, Lacks, Study, StudyRecord, Unpaired
from tests.client.data.adapters import studies_of
from tests.client.data.trees import SECRETS, greys, only, reason_of, write_csv, write_picture

TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
HEADER = [
    *("", "ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID", "PatientBirth", "PatientSex_DICOM"),
    *("ViewPosition_DICOM", "Projection", "Manufacturer_DICOM", "Report", "Labels"),
]
REPORT = "sin hallazg patolog . cardiomegali ."


def row(image: str, **changes: str) -> list[str]:
    values = {
        "": "7",
        "ImageID": f"{image}.png",
        "ImageDir": "0",
        "StudyDate_DICOM": "20140915",
        "StudyID": "S1",
        "PatientID": "P1",
        "PatientBirth": "1938.0",
        "PatientSex_DICOM": "M",
        "ViewPosition_DICOM": "POSTEROANTERIOR",
        "Projection": "PA",
        "Manufacturer_DICOM": "ImagingDynamicsCompanyLtd",
        "Report": REPORT,
        "Labels": "['cardiomegaly', ' normal', \"kerley lines\", 'cardiomegaly']",
    }
    return [(values | changes)[column] for column in HEADER]


def tree(root: Path, *rows: list[str]) -> Path:
    write_csv(root / TABLE, [HEADER, *rows])
    return root


def read(root: Path, *, pixel_bits: int = 16) -> list[Study | Unpaired | BadRow]:
    return studies_of(padchest(root, allow_burned_in=False, pixel_bits=pixel_bits))


def test_padchest_reads_every_field_and_sixteen_bits(tmp_path: Path) -> None:
    root = tree(tmp_path, row("x", Projection="EXCLUDE"), row("l", Projection="L"), row("p"))
    for name, grey, folder in (("x", 257 * 50, "0/"), ("l", 257 * 20, "0/"), ("p", 257 * 10, "")):
        write_picture(root / f"{folder}{name}.png", grey, dtype=np.uint16)
    study = only(padchest(root, allow_burned_in=False, pixel_bits=16))
    assert isinstance(study, Study)
    assert study.record == StudyRecord(
        study_id="S1",
        patient_id="P1",
        report=REPORT,
        sex="M",
        age=76,
        scanner="ImagingDynamicsCompanyLtd",
        language="Spanish",
        findings=("cardiomegaly", "kerley lines"),
        date=date(2014, 9, 15),
    )
    assert greys(study) == [10, 20, 50]


@pytest.mark.parametrize("report", ["", "nan", "None"])
def test_padchest_a_blank_report_is_unpaired(tmp_path: Path, report: str) -> None:
    root = tree(tmp_path, row("a", Report=report))
    write_picture(root / "0/a.png", 1)
    found = only(padchest(root, allow_burned_in=False))
    assert isinstance(found, Unpaired)
    assert (found.lacks, found.record.report) == (Lacks.REPORT, "")


@pytest.mark.parametrize(
    ("changes", "unread"),
    [
        ({"PatientBirth": ""}, ()),
        ({"PatientBirth": "2020.0"}, ("age",)),
        ({"StudyDate_DICOM": "soon"}, ("age", "date")),
        ({"PatientBirth": "19380101", "PatientSex_DICOM": "?!"}, ("sex",)),
        ({"Labels": "__import__('os').abort()"}, ("findings",)),
        ({"Labels": "nan"}, ()),
    ],
)
def test_padchest_what_is_not_understood_is_unknown(tmp_path: Path, changes: dict[str, str], unread: str) -> None:
    root = tree(tmp_path, row("a", **changes))
    write_picture(root / "0/a.png", 1)
    (study,) = read(root)
    assert isinstance(study, Study)
    assert study.record.unread == unread


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"PatientID": ""}, "PatientID is empty"),
        ({"StudyID": ""}, "StudyID is empty"),
        ({"ImageID": ""}, "ImageID is empty"),
        ({"ImageID": "gone.png", "PatientID": SECRETS[1]}, "image file is missing"),
        ({"ImageDir": "..", "ImageID": "outside.png"}, "image path leaves the data root"),
        ({"ImageID": "damaged.png"}, "image cannot be decoded"),
    ],
)
def test_padchest_lists_a_bad_row_and_reads_on(tmp_path: Path, changes: dict[str, str], reason: str) -> None:
    write_picture(tmp_path / "outside.png", 9)
    root = tree(tmp_path / "root", row("b", **({"StudyID": "S2", "Report": SECRETS[0]} | changes)), row("a"))
    write_picture(root / "0/a.png", 10)
    (root / "0/damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    found, after = read(root)
    assert isinstance(found, BadRow)
    assert (found.file, found.row) == (TABLE, 2)
    assert reason_of(found).startswith(reason)
    assert isinstance(after, Study)
