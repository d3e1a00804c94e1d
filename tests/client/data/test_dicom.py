"""Adapter `dicom`: the join of files and reports, headers, refusals, and nothing passed over in silence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.data.dicom import dicom
from common.errors import DataError
from common.types import BadRow, Lacks, Study, StudyRecord, Unpaired
from tests.client.data.adapters import studies_of

Write = Callable[..., Path]
SECRETS = ("Rumpelstiltskin", "PID4711", "ACC0815")


@pytest.fixture
def reports(tmp_path: Path, write_table: Write) -> Callable[..., Path]:
    def write(*rows: list[str], columns: tuple[str, ...] = ()) -> Path:
        write_table(tmp_path / "reports.csv", [["accession_number", "report", *columns], *rows])
        return tmp_path

    return write


def read(root: Path, *, allow_burned_in: bool = False, **options: Any) -> list[Study | Unpaired | BadRow]:
    return studies_of(dicom(root, allow_burned_in=allow_burned_in, **options))


def only_study(root: Path, **options: Any) -> Study:
    (study,) = read(root, **options)
    assert isinstance(study, Study)
    return study


def only_reason(root: Path, **options: Any) -> str:
    (bad,) = read(root, **options)
    assert isinstance(bad, BadRow)
    return bad.reason


def test_dicom_joins_header_report_and_pixels(write_instance: Write, reports: Write) -> None:
    root = reports(["A1", "Clear lungs.", "asian", "north", "mass;effusion", "g7", "Welsh"],
                   columns=("race", "site", "findings", "split_group", "language"))  # fmt: skip
    write_instance(
        root / "deep" / "er" / "a.dcm",
        AccessionNumber=" A1 ",
        PatientID="P1",
        SOPInstanceUID="1.2.3",
        PatientSex="F",
        PatientAge="045Y",
        Manufacturer="SIEMENS",
        ManufacturerModelName="Somatom Force",
        WindowCenter=512,
        WindowWidth=1024,
    )
    study = only_study(root)
    assert study.record == StudyRecord(
        study_id="1.2.3",
        patient_id="P1",
        report="Clear lungs.",
        sex="F",
        age=45,
        race="asian",
        scanner="SIEMENS Somatom Force",
        language="Welsh",
        site="north",
        findings=("mass", "effusion"),
        split_group="g7",
    )
    # Centre 512, width 1024 over 0..1023: x * 255 / 1023.
    np.testing.assert_array_equal(study.image.ravel()[[0, 511, 1023]], [0, 127, 255])


def test_dicom_an_accession_of_several_instances_gives_as_many_studies_by_path(
    write_instance: Write, reports: Write
) -> None:
    root = reports(["A1", "One report."])
    for name in ("b/2.dcm", "b/10.dcm", "a.dcm"):
        write_instance(root / name, SOPInstanceUID=f"1.2.{len(name)}")
    items = read(root)
    assert [item.record.study_id for item in items if isinstance(item, Study)] == ["1.2.5", "1.2.8", "1.2.7"]
    assert [item.record for item in read(root) if isinstance(item, Study)] == [
        item.record for item in items if isinstance(item, Study)
    ]


@pytest.mark.parametrize(
    ("age", "years"),
    [("", None), ("045Y", 45), ("45Y", 45), ("000Y", 0), ("011M", 0), ("023M", 1), ("003W", 0), ("156W", 3),
     ("012D", 0), ("730D", 2), ("120Y", 120)],
)  # fmt: skip
def test_dicom_patient_age_in_completed_years(
    write_instance: Write, reports: Write, age: str, years: int | None
) -> None:
    root = reports(["A1", "r"])
    write_instance(root / "a.dcm", PatientAge=age)
    assert only_study(root).record.age == years


def test_dicom_table_goes_before_the_header_and_what_is_not_understood_costs_no_study(
    write_instance: Write, reports: Write
) -> None:
    root = reports(["A1", "r", "", ""], columns=("sex", "age"))
    write_instance(root / "a.dcm", PatientSex="O", PatientAge="008M")
    assert (only_study(root).record.sex, only_study(root).record.age) == ("O", 0)
    write_instance(root / "a.dcm", PatientSex="X", PatientAge="SECRET")
    record = only_study(root).record
    assert (record.sex, record.age, record.unread) == (None, None, ("age", "sex"))
    reports(["A1", "r", "M", "50"], columns=("sex", "age"))
    record = only_study(root).record
    assert (record.sex, record.age, record.unread) == ("M", 50, ())
    reports(["A1", "r", "?!", "about fifty"], columns=("sex", "age"))
    write_instance(root / "a.dcm", PatientSex="F", PatientAge="050Y")
    assert only_study(root).record.unread == ()


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"AccessionNumber": ""}, "AccessionNumber is missing from the DICOM header"),
        ({"PatientID": ""}, "PatientID is missing from the DICOM header"),
        ({"BurnedInAnnotation": "YES"}, "image has burned-in annotation"),
        ({"PixelData": b""}, "instance has no pixel data"),
        ({"Rows": 64}, "pixel data cannot be decoded"),
    ],
)
def test_dicom_lists_a_bad_file_and_reads_on(
    write_instance: Write, reports: Write, header: dict[str, Any], reason: str
) -> None:
    root = reports([SECRETS[2], SECRETS[0]])
    patient = {"PatientID": SECRETS[1], "PatientName": SECRETS[0], "AccessionNumber": SECRETS[2]}
    write_instance(root / "a.dcm", **{**patient, **header})
    write_instance(root / "b.dcm", **patient)
    found, after = read(root)
    assert isinstance(after, Study)
    assert isinstance(found, BadRow)
    assert (found.file, found.row) == ("a.dcm", 0)
    assert found.reason.startswith(reason)
    assert not any(secret in found.reason for secret in SECRETS)


def test_dicom_an_image_without_a_row_is_unpaired_with_its_patient(write_instance: Write, reports: Write) -> None:
    root = reports(["A1", "r"])
    write_instance(root / "a.dcm")
    write_instance(root / "b.dcm", AccessionNumber="A2", PatientID="P2", PatientSex="F")
    _, found = read(root)
    assert isinstance(found, Unpaired)
    assert (found.lacks, found.record.patient_id, found.record.sex) == (Lacks.REPORT, "P2", "F")
    assert "reports.csv" in found.remedy


def test_dicom_a_policy_may_allow_burned_in_annotation_and_no_tag_is_accepted(
    write_instance: Write, reports: Write
) -> None:
    root = reports(["A1", "r"])
    write_instance(root / "a.dcm", BurnedInAnnotation="YES")
    assert "burned-in" in only_reason(root)
    only_study(root, allow_burned_in=True)
    for header in ({"BurnedInAnnotation": "NO"}, {}):
        write_instance(root / "a.dcm", **header)
        only_study(root)


def test_dicom_truncated_and_foreign_files_are_listed(write_instance: Write, reports: Write) -> None:
    root = reports(["A1", "r"])
    path = write_instance(root / "a.dcm")
    path.write_bytes(path.read_bytes()[:-100])
    (root / "readme.txt").write_text("hello", encoding="utf-8")
    (root / "gone.dcm").symlink_to(root / "nowhere.dcm")
    first, gone, foreign = read(root)
    assert isinstance(first, BadRow)
    assert isinstance(gone, BadRow)
    assert "number of bytes of pixel data is less than expected" in first.reason
    assert gone.reason.startswith("image file is missing")
    assert foreign == BadRow("readme.txt", 0, "not a DICOM Part 10 file; move it out of the folder or export it again")


def test_dicom_values_that_break_their_representation_are_read(write_instance: Write, reports: Write) -> None:
    long = "a number of more than 16 characters"
    root = reports([long, "r"])
    write_instance(root / "a.dcm", AccessionNumber=long, SOPInstanceUID="1.2.three")
    assert only_study(root).record.study_id == "1.2.three"


def test_dicom_a_copied_instance_is_read_once(write_instance: Write, reports: Write) -> None:
    root = reports(["A1", "r"])
    path = write_instance(root / "a.dcm")
    (root / "b.dcm").write_bytes(path.read_bytes())
    first, copy = read(root)
    assert isinstance(first, Study)
    assert copy == BadRow("b.dcm", 0, "SOPInstanceUID repeats that of an earlier file; keep one copy")


def test_dicom_lists_reports_that_gave_no_study(write_instance: Write, reports: Write) -> None:
    root = reports(["A1", "Two\nlines."], ["A1", "another"], ["", "nobody's"], ["A2", "no image"], ["A3"], ["A4", " "])
    write_instance(root / "a.dcm")
    write_instance(root / "b.dcm", AccessionNumber="A4")
    study, empty, *rows = read(root)
    assert isinstance(study, Study)
    assert isinstance(empty, Unpaired)
    assert (empty.lacks, empty.record.report) == (Lacks.REPORT, "")
    assert rows == [
        BadRow("reports.csv", 4, "accession_number repeats that of line 2; merge the two reports"),
        BadRow("reports.csv", 5, "accession_number is empty; fill it in"),
        BadRow("reports.csv", 6, "no readable DICOM file has this accession_number; add the image"),
        BadRow("reports.csv", 7, "the row has 1 fields and the header 2"),
    ]


def test_dicom_a_link_out_of_the_folder_is_refused(
    tmp_path_factory: pytest.TempPathFactory, write_instance: Write, reports: Write
) -> None:
    root = reports(["A1", "r"])
    outside = write_instance(tmp_path_factory.mktemp("outside") / "a.dcm")
    (root / "a.dcm").symlink_to(outside)
    found, _ = read(root)
    assert isinstance(found, BadRow)
    assert found.reason.startswith("image path leaves the data root")


def test_dicom_missing_table_or_column_raises_before_the_first_item(
    tmp_path: Path, write_instance: Write, reports: Write
) -> None:
    write_instance(tmp_path / "a.dcm")
    with pytest.raises(DataError, match=r"reports\.csv: cannot be read"):
        next(dicom(tmp_path, allow_burned_in=False).studies())
    with pytest.raises(DataError, match="column hospital is missing"):
        next(dicom(reports(["A1", "r"]), allow_burned_in=False, site_column="hospital").studies())
