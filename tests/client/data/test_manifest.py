"""Adapter `manifest`: every row becomes a study or a bad row with the right line and no patient data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from client.data.manifest import manifest
from common.errors import DataError
from common.types import BadRow, Lacks, Study, StudyRecord, Unpaired
from tests.client.data.adapters import studies_of

HEADER = [
    "study_id",
    "patient_id",
    "image_path",
    "report",
    "sex",
    "age",
    "race",
    "scanner",
    "site",
    "findings",
    "language",
]
GOOD = ["s1", "p1", "a.png", "Clear lungs.", "F", "67", "white", "Siemens", "north", "effusion;mass", "Welsh"]
SECRETS = ("Rumpelstiltskin", "PID4711")


@pytest.fixture
def folder(tmp_path: Path, write_table: Callable[..., Path]) -> Callable[..., Path]:
    PIL.Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4)).save(tmp_path / "a.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:45])

    def make(*rows: list[str], header: list[str] = HEADER) -> Path:
        write_table(tmp_path / "manifest.csv", [header, *rows])
        return tmp_path

    return make


def changed(**fields: str) -> list[str]:
    return [fields.get(column, value) for column, value in zip(HEADER, GOOD, strict=True)]


def read(root: Path, **options: str) -> list[Study | Unpaired | BadRow]:
    return studies_of(manifest(root, allow_burned_in=False, **options))


def test_manifest_reads_every_field_and_the_pixels(folder: Callable[..., Path]) -> None:
    (study,) = read(folder(GOOD))
    assert isinstance(study, Study)
    assert study.record == StudyRecord(
        study_id="s1",
        patient_id="p1",
        report="Clear lungs.",
        sex="F",
        age=67,
        race="white",
        scanner="Siemens",
        language="Welsh",
        site="north",
        findings=("effusion", "mass"),
        split_group="p1",
    )
    np.testing.assert_array_equal(study.image, np.arange(16).reshape(4, 4))


def test_manifest_optional_columns_may_be_absent_or_blank(folder: Callable[..., Path]) -> None:
    expected = StudyRecord(study_id="s1", patient_id="p1", report="Clear lungs.")
    (absent,) = read(folder(GOOD[:4], header=HEADER[:4]))
    (blank,) = read(folder([*GOOD[:4], *[""] * 7]))
    assert isinstance(absent, Study)
    assert isinstance(blank, Study)
    assert absent.record == blank.record == expected


def test_manifest_split_group_and_site_column_are_taken_from_the_table(folder: Callable[..., Path]) -> None:
    root = folder([*GOOD, "g9", "south"], header=[*HEADER, "split_group", "hospital"])
    (study,) = read(root, site_column="hospital")
    assert isinstance(study, Study)
    assert (study.record.split_group, study.record.site) == ("g9", "south")
    with pytest.raises(DataError, match="column hospitals is missing; did you mean hospital"):
        read(root, site_column="hospitals")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"study_id": " "}, "study_id is empty"),
        ({"patient_id": ""}, "patient_id is empty"),
        ({"report": " \n", "image_path": ""}, "neither a report nor an image"),
        ({"report": "", "image_path": "missing.png"}, "image file is missing"),
        ({"image_path": "missing.png"}, "image file is missing"),
        ({"image_path": "cut.png"}, "image cannot be decoded"),
        ({"image_path": "manifest.csv"}, "image cannot be decoded"),
        ({"image_path": "../a.png"}, "image path leaves the data root"),
        ({"image_path": "/etc/hostname"}, "image path leaves the data root"),
    ],
)
def test_manifest_lists_a_bad_row_and_reads_on(
    folder: Callable[..., Path], fields: dict[str, str], reason: str
) -> None:
    first = changed(study_id="s0", report="Two\nlines, one\n\nfield.")
    bad = changed(**{"study_id": "s1", "patient_id": SECRETS[1], "report": SECRETS[0], **fields})
    before, found, after = read(folder(first, bad, changed(study_id="s2")))
    assert isinstance(before, Study)
    assert isinstance(after, Study)
    assert isinstance(found, BadRow)
    assert (found.file, found.row) == ("manifest.csv", 6)  # the first row takes lines 2 to 5
    assert found.reason.startswith(reason)
    assert not any(secret in found.reason for secret in SECRETS)


@pytest.mark.parametrize(
    ("column", "lacks", "remedy"),
    [("report", Lacks.REPORT, "column report"), ("image_path", Lacks.IMAGE, "image_path")],
)
def test_manifest_a_row_that_lacks_a_half_is_unpaired(
    folder: Callable[..., Path], column: str, lacks: Lacks, remedy: str
) -> None:
    found, after = read(folder(changed(**{column: " "}), changed(study_id="s2")))
    assert isinstance(found, Unpaired)
    assert (found.lacks, found.record.study_id, found.record.sex) == (lacks, "s1", "F")
    assert remedy in found.remedy
    assert isinstance(after, Study)


def test_manifest_a_repeated_study_id_names_the_first_line(folder: Callable[..., Path]) -> None:
    _, repeated, other = read(folder(GOOD, changed(patient_id="p2"), changed(study_id="s2")))
    reason = "study_id repeats that of line 2; give each study its own"
    assert repeated == BadRow("manifest.csv", 3, reason)
    assert isinstance(other, Study)


def test_manifest_order_is_that_of_the_rows_each_time(folder: Callable[..., Path]) -> None:
    adapter = manifest(folder(*(changed(study_id=f"s{i}") for i in (3, 1, 2))), allow_burned_in=False)
    for _ in range(2):
        assert [item.record.study_id for item in adapter.studies() if isinstance(item, Study)] == [
            "s3",
            "s1",
            "s2",
        ]


def test_manifest_missing_table_or_column_raises_before_the_first_item(
    tmp_path: Path, folder: Callable[..., Path]
) -> None:
    with pytest.raises(DataError, match=r"manifest\.csv: cannot be read"):
        next(manifest(tmp_path / "nowhere", allow_burned_in=False).studies())
    with pytest.raises(DataError, match="column patient_id is missing"):
        next(manifest(folder(GOOD[:1], header=HEADER[:1]), allow_burned_in=False).studies())
