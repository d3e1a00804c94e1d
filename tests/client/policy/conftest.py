"""A hospital's folder with its site.yaml, and a run that its policy allows."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import time
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import yaml

from client.policy.interface import ReleaseRequest, RunRequest
from common.config.load import config_as_yaml, config_digest, load_config
from common.config.schema import RunConfig
from common.privacy.events import SampledGaussian
from common.privacy.release import Mechanism, Release
from common.wire.update import ArrayPlan

EVENT = SampledGaussian(noise_multiplier=1.5, sampling_probability=0.1, steps=2)
ARRAYS = ArrayPlan({"image_tower.linear.weight": ((4, 3), "float32"), "hash_head.weight": ((8,), "float32")})
HEADER = ("study_id", "patient_id", "image_path", "report", "sex", "age")

SiteYaml = dict[str, Any]
Rows = Sequence[Sequence[str]]


@pytest.fixture(scope="session")
def run_config() -> RunConfig:
    tiny = ["encoder.embedding_dim=8", "code.bit_width=48", "code.num_centres=4", "federation.rounds=2"]
    return load_config([*tiny, "evaluation.epsilon=1", "evaluation.least_group=20"])


@pytest.fixture
def run_request(run_config: RunConfig) -> Callable[..., RunRequest]:
    """A run that every rule of `site_yaml` lets pass, unless a field says otherwise."""

    def make(**changes: Any) -> RunRequest:
        request = RunRequest(
            config=run_config,
            config_digest=config_digest(run_config),
            bundle_hash=None,
            events=(EVENT,),
            rounds=2,
            arrays=ARRAYS,
            device="cpu",
            local_time=time(12),
        )
        return replace(request, **changes)

    return make


@pytest.fixture
def release_request() -> Callable[..., ReleaseRequest]:
    """A reply with a private update and noised counts."""

    def make(**changes: Any) -> ReleaseRequest:
        request = ReleaseRequest(
            releases=(
                Release(name="site", mechanism=Mechanism.PUBLIC),
                Release(name="update", mechanism=Mechanism.PATIENT_DP_SGD, event=EVENT, ledger_entry="e" * 64),
            ),
            arrays=ARRAYS,
            least_cell=None,
        )
        return replace(request, **changes)

    return make


@pytest.fixture
def site_yaml(run_config: RunConfig) -> SiteYaml:
    """The content of a site.yaml beside the folder that `write_studies` fills."""
    return {
        "site": "north",
        "state_folder": "state",
        "data": {"name": "chest", "adapter": "manifest", "root": "studies"},
        "budget": {"epsilon": 20.0, "delta": 1e-4, "epsilon_per_run": 20.0},
        "training": {
            "least_noise_multiplier": 0.5,
            "losses": ["anchor_contrast"],
            "encoders": ["scratch"],
            "config_digests": [config_digest(run_config)],
            "devices": ["cpu"],
        },
        "update": {"most_values": 10_000, "most_bytes": 40_000, "keys": ["*"]},
        "releases": {
            "allowed": {"site": ["public"], "update": ["patient_dp_sgd"], "statistics": ["discrete_laplace"]},
            "least_cell": 11,
        },
        "agent": {"metrics_port": 9466, "health_port": 9467},
    }


@pytest.fixture
def write_site(tmp_path: Path) -> Callable[[Mapping[str, Any]], Path]:
    def write(content: Mapping[str, Any]) -> Path:
        path = tmp_path / "site.yaml"
        path.write_text(yaml.safe_dump(dict(content)), encoding="utf-8")
        return path

    return write


@pytest.fixture
def run_file(tmp_path: Path, run_config: RunConfig) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(config_as_yaml(run_config), encoding="utf-8")
    return path


@pytest.fixture
def write_studies(tmp_path: Path) -> Callable[..., Path]:
    """A manifest folder: `num_patients` good patients of one study each, and further rows."""

    def write(num_patients: int, *further: Sequence[str]) -> Path:
        folder = tmp_path / "studies"
        folder.mkdir(exist_ok=True)
        for number in range(num_patients):
            PIL.Image.fromarray(np.full((4, 4), number, np.uint8)).save(folder / f"{number}.png")
        good = [(f"s{n}", f"p{n}", f"{n}.png", f"report {n}", "F", "40") for n in range(num_patients)]
        with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([HEADER, *good, *further])
        return folder

    return write
