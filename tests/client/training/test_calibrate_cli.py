"""`wardround site calibrate` on the public half of a synthetic cohort."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from client.data.anchor_folder import AnchorFolder
from client.data.anchors import read_anchors
from client.data.features import CachedEncoder
from common.config.load import config_as_yaml, load_config
from common.encoders.cache import FeatureCache
from common.encoders.registry import ENCODERS
from common.errors import DataError
from simulations.cohorts.plan import CohortPlan
from simulations.cohorts.write import write_cohort

SMALL = ["encoder.image_size=32", "encoder.patch_size=8", "encoder.width=16", "encoder.num_heads=2"]
SMALL += ["encoder.image_depth=1", "encoder.report_depth=1", "encoder.embedding_dim=16", "public_fit.steps=4"]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = CohortPlan(
        seed=0, num_sites=2, patients_per_site=12, public_patients=40, image_size=32, site_shift=0.5, confounder=False
    )
    return write_cohort(plan, tmp_path_factory.mktemp("cohort") / "data")


@pytest.fixture(scope="module")
def run_file(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "config.yaml"
    path.write_text(config_as_yaml(load_config([*SMALL, "data.adapter=manifest", f"data.root={cohort}"])))
    return path


def wardround(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "import wardround; wardround.main()", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=200,
    )


@pytest.fixture
def encoder(tmp_path: Path) -> CachedEncoder:
    return CachedEncoder(ENCODERS.load("scratch")(load_config(SMALL).encoder), FeatureCache(tmp_path))


def test_anchors_are_the_public_studies_alone(cohort: Path, encoder: CachedEncoder) -> None:
    found = read_anchors(AnchorFolder(root=cohort, adapter="manifest"), encoder).features
    with (cohort / "manifest.csv").open(encoding="utf-8") as file:
        public = [row for row in csv.DictReader(file) if row["site"] == "public"]
    assert len(found.images) == len(found.reports) == len(public)
    assert int(found.patients.max()) + 1 == len({row["patient_id"] for row in public}) == 40
    assert found.patients.tolist() == sorted(found.patients.tolist())


def test_folder_without_public_studies_is_refused(cohort: Path, encoder: CachedEncoder) -> None:
    with pytest.raises(DataError, match="holds no public study"):
        read_anchors(AnchorFolder(root=cohort, adapter="manifest", site_column="scanner"), encoder)


def test_command_prints_the_same_settings_each_time_and_a_run_takes_them(run_file: Path) -> None:
    one, two = (wardround("site", "calibrate", "--run", str(run_file), "--bands", "64-127,32-63") for _ in range(2))
    assert one.returncode == 0, one.stderr
    assert one.stdout == two.stdout
    assert load_config(one.stdout.split()).privacy.clip_norm == 1.0


def test_command_gives_its_reasons_as_json(run_file: Path) -> None:
    found = wardround("site", "calibrate", "--run", str(run_file), "--bands", "64-127", "--json")
    assert found.returncode == 0, found.stderr
    assert {"settings", "rates", "gradient_norm", "noise_share"} == json.loads(found.stdout).keys()


def test_command_refuses_what_is_no_band(run_file: Path) -> None:
    found = wardround("site", "calibrate", "--run", str(run_file), "--bands", "65-127")
    assert found.returncode == 2
    assert found.stderr == "wardround: --bands 65-127: not a band; give those of site check, such as 64-127\n"
