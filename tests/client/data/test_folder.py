"""A folder as a configuration names it: patients under one identifier, and nothing else of a study changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.data.folder import StudyFolder
from client.data.patients import EXACT, FOLDED
from common.types import BadRow, Study, StudyRecord, Unpaired
from tests.client.data.trees import greys, write_csv, write_picture

HEADER = ["ImageID", "ImageDir", "StudyID", "PatientID", "Projection", "Report"]


@pytest.mark.parametrize(("same_patients", "expected"), [(EXACT, ("P 7", "p7")), (FOLDED, ("p7", "p7"))])
def test_study_folder_changes_the_patient_alone(tmp_path: Path, same_patients: str, expected: tuple[str, str]) -> None:
    rows = [["a.png", "0", "S1", "P 7", "PA", "Clear."], ["b.png", "0", "S1", "P 7", "L", "Clear."],
            ["c.png", "0", "S2", "p7", "PA", ""], ["d.png", "0", "S3", "", "PA", ""]]  # fmt: skip
    write_csv(tmp_path / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv", [HEADER, *rows])
    for grey, name in enumerate(("a.png", "b.png", "c.png")):
        write_picture(tmp_path / "0" / name, grey)
    folder = StudyFolder(
        root=tmp_path,
        adapter="padchest",
        site_column="site",
        allow_burned_in=False,
        pixel_bits=0,
        same_patients=same_patients,
    )
    study, unpaired, bad = folder.studies()
    record, *others = folder.records()
    assert greys(study) == [0, 1]
    assert isinstance(study, Study)
    assert isinstance(unpaired, Unpaired)
    assert isinstance(bad, BadRow)
    assert isinstance(record, StudyRecord)
    assert (study.record.patient_id, unpaired.record.patient_id) == expected
    assert [study.record, unpaired, bad] == [record, *others]
