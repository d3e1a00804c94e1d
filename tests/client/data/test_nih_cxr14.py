"""Adapter `nih_cxr14`: every study is unpaired, in both forms of the table."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.data.nih_cxr14 import nih_cxr14
from common.errors import DataError
from common.types import BadRow, Lacks, StudyRecord, Unpaired
from tests.client.data.adapters import studies_of
from tests.client.data.trees import SECRETS, reason_of, write_csv, write_picture, write_text

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
ROW = "00000001_000.png,Cardiomegaly|Emphysema,0,1,058Y,M,PA,2682,2749,0.143,0.143"


@pytest.mark.parametrize(("name", "end"), [("Data_Entry_2017.csv", ","), ("Data_Entry_2017_v2020.csv", "")])
@pytest.mark.parametrize("folder", ["images_001/images", "images"])
def test_nih_cxr14_is_unpaired_with_its_findings(tmp_path: Path, name: str, end: str, folder: str) -> None:
    other = "00000001_001.png,No Finding,1,1,414,F,AP,2682,2749,0.143,0.143"
    write_text(tmp_path / name, "\n".join(f"{line}{end}" for line in (HEADER, ROW, other)))
    for image in ("00000001_000.png", "00000001_001.png"):
        write_picture(tmp_path / folder / image, 10)
    found = studies_of(nih_cxr14(tmp_path, allow_burned_in=False))
    records = [item.record for item in found if isinstance(item, Unpaired) and item.lacks is Lacks.REPORT]
    assert records == [
        StudyRecord(
            study_id="00000001_000.png",
            patient_id="1",
            report="",
            sex="M",
            age=58,
            findings=("Cardiomegaly", "Emphysema"),
        ),
        StudyRecord(study_id="00000001_001.png", patient_id="1", report="", sex="F", unread=("age",)),
    ]


@pytest.mark.parametrize(
    ("image", "patient", "reason"),
    [
        ("gone.png", SECRETS[1], "image file is missing"),
        ("../outside.png", "2", "image path leaves the data root"),
        ("link.png", "2", "image path leaves the data root"),
        ("a.png", "", "Patient ID is empty"),
        ("", "2", "Image Index is empty"),
    ],
)
def test_nih_cxr14_lists_a_bad_row(tmp_path: Path, image: str, patient: str, reason: str) -> None:
    root = tmp_path / "root"
    write_picture(root / "images/a.png", 1)
    (root / "images/link.png").symlink_to(write_picture(tmp_path / "outside.png", 2))
    write_csv(
        root / "Data_Entry_2017.csv", [["Image Index", "Finding Labels", "Patient ID"], [image, SECRETS[0], patient]]
    )
    (found,) = studies_of(nih_cxr14(root, allow_burned_in=False))
    assert isinstance(found, BadRow)
    assert found.row == 2
    assert reason_of(found).startswith(reason)


def test_nih_cxr14_wrong_column_is_named(tmp_path: Path) -> None:
    write_csv(tmp_path / "Data_Entry_2017.csv", [["Image Index", "Finding Labels", "Patient"]])
    with pytest.raises(DataError, match=r"Data_Entry_2017\.csv: column Patient ID is missing; did you mean patient"):
        studies_of(nih_cxr14(tmp_path, allow_burned_in=False))
