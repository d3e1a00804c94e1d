"""Which public studies are read: those that no training saw, the same that the run kept; and how they are compared."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

import wardround
from client.data.anchors import AnchorFolder
from client.mediator import public_gallery
from client.mediator.calibrate import distances_of
from client.mediator.plan_relevance import read_plan_relevance
from client.mediator.public_gallery import PublicGallery, unseen_patients
from client.search.index import Gallery
from common.config.load import load_config
from common.encoders.public_fit import AnchorFeatures
from common.encoders.public_parts import part_public
from common.errors import ConfigError
from common.model import load_model
from common.model.relevance import read_relevance
from simulations.studies.source import folder_of
from tests.conftest import FinishedRun


@pytest.fixture
def folder(tmp_path: Path) -> AnchorFolder:
    """44 patients, of whom every second has two studies, in no order."""
    PIL.Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "x.png")
    rows = [(f"s{n}", f"p{n * 17 % 44:02}", "x.png", "Mass.", "Mass") for n in range(66)]
    with (tmp_path / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("study_id", "patient_id", "image_path", "report", "findings"), *rows])
    return AnchorFolder(root=tmp_path, adapter="manifest", alone=True)


def test_patients_are_those_that_the_run_kept_from_training(folder: AnchorFolder) -> None:
    config = load_config(["public_fit.validation_fraction=0.5"])
    numbers = torch.arange(44)
    kept = part_public(AnchorFeatures(numbers[:, None].float(), -numbers[:, None].float(), numbers), config).validation
    assert kept is not None
    expected = {f"p{int(number):02}" for number in kept.images[:, 0]}
    assert unseen_patients(folder, config, none_was_seen=False) == expected
    assert len(expected) == 22


def test_run_that_kept_none_is_refused_unless_none_of_the_studies_was_its(
    folder: AnchorFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(["public_fit.validation_fraction=0.05"])
    with pytest.raises(ConfigError, match=r"kept none of its public studies from training .*=0\.05 .* --none-was-seen"):
        unseen_patients(folder, config, none_was_seen=False)
    assert len(unseen_patients(folder, config, none_was_seen=True)) == 44
    monkeypatch.setattr(public_gallery, "MOST_PATIENTS", 30)
    assert len(unseen_patients(folder, config, none_was_seen=True)) == 30


def test_study_of_several_pictures_is_as_near_as_its_nearest() -> None:
    images = np.array([[0b111], [0b1], [0b11], [0b11111]], np.uint8)
    gallery = PublicGallery(records=(), images=images, first_images=np.array([0, 2]), reports=images[:2])
    query = np.zeros((1, 1), np.uint8)
    assert distances_of(query, gallery, Gallery.IMAGES).tolist() == [[1, 2]]
    assert distances_of(query, gallery, Gallery.REPORTS).tolist() == [[3, 1]]


def test_command_reads_the_kept_studies_of_the_models_own_run_alone(
    finished_run: FinishedRun,
    exported_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, root = tmp_path / "plans.json", folder_of(finished_run.config).root
    asked = ["mediator", "calibrate", "--model", exported_model, "--studies", root, "--out", out, "--json"]
    monkeypatch.setattr(sys, "argv", ["wardround", *map(str, asked)])
    with pytest.raises(SystemExit) as ended:
        wardround.main()
    said = json.loads(capsys.readouterr().out)
    kept = read_relevance(exported_model)
    assert kept is not None
    assert said["relevance"]["num_patients"] == kept.num_patients == 20
    assert said["relevance"]["num_studies"] == kept.num_studies
    found = read_plan_relevance(str(out), model=load_model(exported_model).digest)
    assert found is not None
    assert ended.value.code == (0 if found.relevance.tells else 1), "so few patients may tell nothing"
