"""Adapter `medpix2`: field by field on a made-up row, and the real pack against the counts of its README."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from client.data.medpix2 import REQUIRED, medpix2
from client.data.splits import Role, read_splits
from common.types import Lacks, Study, StudyRecord, Unpaired

REPOSITORY = Path(__file__).resolve().parents[3]
PACK = Path(os.environ.get("WARDROUND_DATA", REPOSITORY.parent / "shared" / "data")) / "medpix2"
HEADER = [*REQUIRED, "site", "contributor"]

needs_pack = pytest.mark.skipif(
    not (PACK / "metadata.csv").is_file(),
    reason="the medpix2 pack is absent; set WARDROUND_DATA to its parent",
)


def test_medpix2_maps_the_columns_of_the_pack(tmp_path: Path, write_table: Callable[..., Path]) -> None:
    (tmp_path / "images").mkdir()
    PIL.Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "images" / "M1_x.jpg")
    row = [
        "images/M1_x.jpg",
        "M1",
        "A caption.",
        "M",
        "73",
        "",
        "CT",
        "Trauma;Vascular",
        "G000",
        "head",
        "U025",
    ]
    placeholder = ["images/M1_y.jpg", "M1", "Replace this - with a caption", *row[3:]]
    blank = ["images/M1_z.jpg", "M1", "", *row[3:]]
    for name in ("y", "z"):
        (tmp_path / "images" / f"M1_{name}.jpg").write_bytes((tmp_path / "images" / "M1_x.jpg").read_bytes())
    write_table(tmp_path / "metadata.csv", [HEADER, row, placeholder, blank])
    study, *unpaired = medpix2(tmp_path, allow_burned_in=False, site_column="contributor").studies()
    assert isinstance(study, Study)
    assert study.record == StudyRecord(
        study_id="M1_x",
        patient_id="M1",
        report="A caption.",
        sex="M",
        age=73,
        scanner="CT",
        language="English",
        site="U025",
        findings=("Trauma", "Vascular"),
        split_group="G000",
        modality="CT",
    )
    assert [(item.lacks, item.record.study_id) for item in unpaired if isinstance(item, Unpaired)] == [
        (Lacks.REPORT, "M1_y"),
        (Lacks.REPORT, "M1_z"),
    ]


@needs_pack
def test_medpix2_counts_are_those_of_the_readme() -> None:
    items = list(medpix2(PACK, allow_burned_in=False).studies())
    studies = [item for item in items if isinstance(item, Study)]
    unpaired = [item for item in items if isinstance(item, Unpaired)]
    assert (len(items), len(studies), len(unpaired)) == (2050, 2029, 21)
    assert {item.lacks for item in unpaired} == {Lacks.REPORT}
    assert len({study.record.report for study in studies}) == 1351
    assert len({study.record.study_id for study in studies}) == 2029
    assert {study.image.dtype for study in studies} == {np.dtype(np.uint8)}
    assert max(max(study.image.shape) for study in studies) <= 224
    with (PACK / "metadata.csv").open(encoding="utf-8", newline="") as file:
        table = [row for row in csv.DictReader(file) if row["text"]]
    assert [study.record.patient_id for study in studies] == [row["patient_id"] for row in table]
    for field, column in (
        ("site", "site"),
        ("scanner", "modality"),
        ("sex", "sex"),
        ("split_group", "split_group"),
    ):
        found = Counter(getattr(study.record, field) or "" for study in studies)
        assert found == Counter(row[column] for row in table)


@needs_pack
def test_medpix2_fixed_splits_cover_every_study_and_cut_no_patient_apart() -> None:
    with (PACK / "metadata.csv").open(encoding="utf-8", newline="") as file:
        group_of_patient = {row["patient_id"]: row["split_group"] for row in csv.DictReader(file) if row["text"]}
    for split in ("split_1", "split_2", "split_3", "split_4", "split_5"):
        roles = read_splits(PACK / "splits.csv", split=split)
        assert set(group_of_patient.values()) <= set(roles)
        assert set(roles.values()) == set(Role)
