"""A public data set in its published form, from folder to report: several views a study, unpaired ones counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from client.dp.randomness import SystemRandomness
from common.config.load import load_config
from common.encoders.registry import ENCODERS
from common.errors import DataError
from server.report.summary import validate
from simulations.studies.read import read_consortium
from tests.client.data.trees import write_csv, write_picture, write_text

HOSPITALS = ("North", "South")
METADATA = ["dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition", "StudyDate"]
NUM_PATIENTS, NUM_UNREPORTED = 60, 4


@pytest.fixture(scope="module")
def mimic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty patients of two hospitals with two views each; four have no report, and one report has no image."""
    root = tmp_path_factory.mktemp("mimic")
    rows, sides = [METADATA], [["dicom_id", "study_id", "subject_id", "split"]]
    for number in range(NUM_PATIENTS):
        patient, study = f"100{number:05d}", f"500{number:05d}"
        for view, grey in (("LATERAL", 2 * number), ("PA", 255 - 2 * number)):
            image = f"{view.lower()}-{number}"
            rows.append([image, patient, study, HOSPITALS[number % 2], view, "21800506"])
            sides.append([image, study, patient, "test" if number % 4 == 3 else "train"])
            write_picture(root / f"files/p10/p{patient}/s{study}/{image}.jpg", grey)
        if number >= NUM_UNREPORTED:
            write_text(root / f"files/p10/p{patient}/s{study}.txt", f"FINDINGS: Number {number}.\nIMPRESSION: Normal.")
    write_text(root / "files/p10/p10000999/s50000999.txt", "IMPRESSION: Nobody's.")
    write_csv(root / "mimic-cxr-2.0.0-metadata.csv.gz", rows)
    write_csv(root / "mimic-cxr-2.0.0-split.csv.gz", sides)
    return root


def test_one_round_on_a_published_split(mimic: Path, tiny_run: Any, tmp_path: Path) -> None:
    found = tiny_run(
        tmp_path / "run",
        "data.adapter=mimic_cxr",
        f"data.root={mimic}",
        "data.split=published",
        "data.site_column=PerformedProcedureStepDescription",
        "data.public_fraction=0.4",
        "federation.rounds=1",
    )
    validate(found.summary)
    assert found.summary["status"] == "completed"
    assert found.summary["sites"].keys() == set(HOSPITALS)
    assert found.summary["data"]["num_studies"] == NUM_PATIENTS - NUM_UNREPORTED
    assert found.summary["data"]["num_unpaired"] == {
        "without_report": NUM_UNREPORTED,
        "without_image": 1,
        "trained": 0,
    }
    assert found.summary["data"]["num_bad_rows"] == 0
    assert found.summary["pooled"]["gallery"] == NUM_PATIENTS // 4 - 1  # patient 3 is held out and has no report
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "4 studies without a report, 1 without an image" in report


def test_data_set_without_reports_is_one_line_that_says_so(tiny_run: Any, tmp_path: Path) -> None:
    write_csv(tmp_path / "Data_Entry_2017.csv", [["Image Index", "Finding Labels", "Patient ID"], ["a.png", "", "1"]])
    write_picture(tmp_path / "images" / "a.png", 1)
    with pytest.raises(DataError) as caught:
        tiny_run(tmp_path / "run", "data.adapter=nih_cxr14", f"data.root={tmp_path}")
    assert str(caught.value) == (
        f"data.root={tmp_path}: no study has both a report and an image: 1 without report, 0 without image; "
        "no table would bring it: NIH ChestX-ray14 publishes no reports"
    )


def test_each_step_of_a_simulation_reads_one_of_a_studys_views(mimic: Path, tiny_overrides: list[str]) -> None:
    """As at a hospital: uniformly, and nothing is drawn where a study has one.

    About 25 studies, 40 draws: within .15 is 9 deviations; a study shows one view alone with probability 25 * 2^-39.
    """
    config = load_config(
        [
            *tiny_overrides,
            "data.adapter=mimic_cxr",
            f"data.root={mimic}",
            "data.split=published",
            "data.site_column=PerformedProcedureStepDescription",
        ]
    )
    encoder = ENCODERS.load(config.encoder.name)(config.encoder)
    consortium = read_consortium(config, encoder, progress=lambda _: None)
    private, first = consortium.private(HOSPITALS), consortium.private_with_first_images(HOSPITALS)
    assert torch.equal(private.rows(slice(None)).images, first.images)
    randomness = SystemRandomness()
    drawn = torch.stack([private.one_image_each(randomness).rows(slice(None)).images for _ in range(40)])
    is_first = (drawn == first.images).flatten(start_dim=2).all(dim=2)
    assert 0.35 < is_first.double().mean() < 0.65
    assert is_first.any(dim=0).all()
    assert (~is_first).any(dim=0).all()
    assert first.one_image_each(randomness) is first
