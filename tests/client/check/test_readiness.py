"""Readiness of a folder with each defect planted, one at a time and all at once."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from client.check.readiness import OPTIONAL, Readiness, examine
from client.data.splits import Role
from client.policy.site_schema import SiteData
from common.config.load import load_config
from common.errors import DataError
from common.privacy.bands import band_of, delta_for
from common.types import BadRow

Write = Callable[..., Path]
GOOD = 10


def examined(folder: Path, **changes: Any) -> Readiness:
    data = SiteData(name="chest", adapter="manifest", root=folder, max_bad_fraction=0.5)
    return examine(replace(data, **changes), progress=lambda _: None)


def test_good_folder_has_no_problem(write_studies: Write) -> None:
    found = examined(write_studies(GOOD))
    assert (found.num_studies, found.num_patients, found.problems, found.bad_rows) == (GOOD, GOOD, (), ())
    assert found.num_by_role == {Role.PUBLIC: 0, Role.TRAIN: 8, Role.TEST: 2}
    assert (found.patients_band, found.delta) == ("1-10", pytest.approx(1 / 100))
    assert (found.same_images.num_studies, found.same_reports.num_studies, found.num_on_two_sides) == (0, 0, 0)


def test_progress_counts_every_row(write_studies: Write) -> None:
    seen: list[int] = []
    folder = write_studies(3, ("s", "p", "none.png", "text", "F", "40"))
    examine(SiteData(name="chest", adapter="manifest", root=folder), progress=seen.append)
    assert seen == [1, 2, 3, 4]


def test_blank_fields_are_counted_by_column(write_studies: Write) -> None:
    folder = write_studies(GOOD, ("a", "pa", "0.png", "text a", "", "40"), ("b", "pb", "1.png", "text b", "", ""))
    missing = examined(folder).missing
    assert {name: missing[name] for name in ("sex", "age")} == {"sex": 2, "age": 1}
    assert all(missing[name] == GOOD + 2 for name in OPTIONAL if name not in {"sex", "age"})


def test_unreadable_rows_are_listed_with_file_row_and_reason(write_studies: Write) -> None:
    folder = write_studies(
        GOOD,
        ("a", "pa", "gone.png", "text", "F", "40"),
        ("s1", "pa", "1.png", "text", "F", "40"),
        ("b", "pb", "", "", "F", "40"),
    )
    found = examined(folder)
    assert [(row.file, row.row) for row in found.bad_rows] == [("manifest.csv", GOOD + 2 + n) for n in range(3)]
    assert [
        part in row.reason for part, row in zip(("missing", "repeats", "neither"), found.bad_rows, strict=True)
    ] == [True] * 3
    assert (found.num_repeated, found.num_studies) == (1, GOOD)


def test_unpaired_studies_are_counted_and_are_no_unreadable_rows(write_studies: Write) -> None:
    folder = write_studies(
        GOOD, *((f"a{n}", "pa", "0.png", "", "F", "40") for n in range(3)), ("b", "pb", "", "text", "F", "40")
    )
    found = examined(folder, max_bad_fraction=0.0)
    assert (found.unpaired.without_report, found.unpaired.without_image) == (3, 1)
    assert (found.num_studies, found.num_patients, found.bad_rows, found.problems) == (GOOD, GOOD, (), ())


def test_run_that_trains_on_unpaired_studies_sees_the_band_of_all_their_patients(write_studies: Write) -> None:
    found = examined(write_studies(GOOD, *((f"a{n}", f"x{n}", "0.png", "", "F", "40") for n in range(60))))
    bands = [found.band_of_run(load_config([f"loss.name=anchor_contrast{name}"])) for name in ("", "+unpaired")]
    assert bands == [found.patients_band, found.most_patients_band]
    assert bands[0] != bands[1] == band_of(found.num_by_role[Role.TRAIN] + found.num_lone_patients)
    assert found.delta == delta_for(found.most_patients_band)


def test_folder_of_unpaired_studies_alone_says_in_one_line_what_would_bring_the_rest(write_studies: Write) -> None:
    (problem,) = examined(write_studies(0, ("a", "pa", "", "text", "F", "40"))).problems
    assert problem == (
        "no study has both a report and an image: 0 without report, 1 without image; "
        "manifest.csv would bring it in column image_path"
    )


@pytest.mark.parametrize(("limit", "problems"), [(0.09, 1), (0.1, 0)])
def test_too_many_unreadable_rows_are_a_problem(write_studies: Write, limit: float, problems: int) -> None:
    folder = write_studies(9, ("a", "pa", "gone.png", "text", "F", "40"))
    found = examined(folder, max_bad_fraction=limit)
    assert len(found.problems) == problems
    assert all("10.0% of the rows cannot be read" in problem for problem in found.problems)


def test_same_image_and_same_report_are_told_apart_by_patient(write_studies: Write) -> None:
    folder = write_studies(
        GOOD,
        ("a", "p0", "0.png", "another text", "F", "40"),  # the image of p0 again, at p0
        ("b", "p2", "1.png", "report 3", "F", "40"),  # the image of p1 at p2, with the report of p3
        ("c", "p4", "1.png", "report 4", "F", "40"),  # the same image at a third patient, their own report again
    )
    found = examined(folder)
    images, reports = found.same_images, found.same_reports
    assert (images.num_studies, images.num_groups, images.num_across_patients) == (5, 2, 1)
    assert (reports.num_studies, reports.num_groups, reports.num_across_patients) == (4, 2, 1)


def test_same_pixels_in_another_file_are_the_same_image_and_other_shape_is_not(write_studies: Write) -> None:
    folder = write_studies(GOOD, ("a", "pa", "copy.bmp", "text", "F", "40"), ("b", "pb", "wide.png", "t", "F", "40"))
    PIL.Image.fromarray(np.full((4, 4), 7, np.uint8)).save(folder / "copy.bmp")
    PIL.Image.fromarray(np.full((2, 8), 7, np.uint8)).save(folder / "wide.png")
    assert examined(folder).same_images.num_studies == 2


def write_splits(folder: Path, roles: dict[str, str]) -> None:
    with (folder / "splits.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("split_group", "split_1"), *roles.items()])


def with_groups(folder: Path, groups: dict[str, str]) -> None:
    """Add column split_group to the manifest: the patient, but for the studies that `groups` names."""
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file))
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([[*header, "split_group"], *([*row, groups.get(row[0], row[1])] for row in rows)])


def test_patient_on_two_sides_of_a_given_split_is_a_problem(write_studies: Write) -> None:
    folder = write_studies(4, ("extra", "p0", "0.png", "text", "F", "40"))
    with_groups(folder, {"extra": "g"})
    write_splits(folder, {"p0": "train", "g": "test", "p1": "train", "p2": "test", "p3": "public"})
    found = examined(folder, split="split_1")
    assert (found.num_on_two_sides, found.num_by_role) == (1, {Role.PUBLIC: 1, Role.TRAIN: 2, Role.TEST: 2})
    assert found.problems[-1] == "1 patients stand on two sides of data.split=split_1; put each on one"
    write_splits(folder, {"p0": "train", "g": "train", "p1": "train", "p2": "test", "p3": "public"})
    assert examined(folder, split="split_1").num_on_two_sides == 0


def test_drawn_split_never_parts_a_patient(write_studies: Write) -> None:
    folder = write_studies(GOOD, *[(f"x{n}", f"p{n}", "0.png", "text", "F", "40") for n in range(GOOD)])
    with_groups(folder, {f"x{n}": f"g{n}" for n in range(GOOD)})
    assert examined(folder).num_on_two_sides == 0


@pytest.mark.parametrize(("split", "said"), [("split_2", "no such split; did you mean split_1"), ("", "too few")])
def test_split_that_cannot_be_made_is_a_problem(write_studies: Write, split: str, said: str) -> None:
    folder = write_studies(1)
    write_splits(folder, {"p0": "train"})
    assert said in examined(folder, split=split).problems[0]


def test_folder_without_a_readable_study_is_a_problem(write_studies: Write) -> None:
    assert examined(write_studies(0)).problems == ("no study can be read; check data.adapter and data.root",)


def test_folder_without_a_table_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"manifest\.csv: cannot be read"):
        examined(tmp_path)


def test_content_digest_changes_when_a_study_is_added_and_not_with_the_folder(
    write_studies: Write, tmp_path: Path
) -> None:
    folder = write_studies(GOOD)
    before = examined(folder).content_digest
    shutil.copytree(folder, tmp_path / "moved")
    assert examined(tmp_path / "moved").content_digest == before
    assert examined(write_studies(GOOD + 1)).content_digest != before


def test_burned_in_images_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words are the DICOM adapter's own: `test_dicom_reason_is_found_by_its_words` holds it to them."""

    class Adapter:
        def written(self) -> str:
            return "commas"

        def studies(self) -> list[BadRow]:
            return [BadRow("a.dcm", 0, "image has burned-in annotation, which the policy refuses"), BadRow("b", 0, "x")]

    monkeypatch.setattr("client.data.folder.ADAPTERS.load", lambda _: lambda *_, **__: Adapter())
    assert examined(tmp_path).num_burned_in == 1


def test_dicom_reason_is_found_by_its_words(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = pydicom.uid.CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = pydicom.uid.generate_uid()
    dataset.AccessionNumber, dataset.PatientID, dataset.BurnedInAnnotation = "A1", "P1", "YES"
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    (tmp_path / "reports.csv").write_text("accession_number,report\nA1,text\n", encoding="utf-8")
    assert examined(tmp_path, adapter="dicom").num_burned_in == 1
