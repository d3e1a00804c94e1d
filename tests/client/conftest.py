"""A site small enough to train in milliseconds, and a hospital's folder with its site.yaml."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
import yaml

from client.dp.randomness import SeededRandomness
from client.dp.records import Records
from client.site import HeldOut, Site
from common.config.load import config_as_yaml, config_digest, load_config
from common.config.schema import RunConfig
from common.encoders.dual import DualEncoder
from common.encoders.public_fit import AnchorFeatures
from common.encoders.whitened_head import WhitenedHead
from common.hashing.head import HashHead
from common.seeds import torch_generator
from common.types import StudyRecord
from common.wire.update import model_arrays

FEATURES, EMBEDDING = 12, 6

HEADER = ("study_id", "patient_id", "image_path", "report", "sex", "age")
SiteYaml = dict[str, Any]
Rows = Sequence[Sequence[str]]


@pytest.fixture
def tiny_config() -> RunConfig:
    return load_config(
        [
            f"encoder.embedding_dim={EMBEDDING}",
            "code.bit_width=48",
            "code.num_centres=4",
            "loss.num_anchors=20",
            "training.steps_per_round=3",
            "training.sampling_probability=0.5",
            "training.chunk_size=4",
            "privacy.epsilon=null",
            "evaluation.num_bootstrap=20",
        ]
    )


@pytest.fixture
def linear_model() -> DualEncoder:
    """Two whitened heads and a hash head."""
    generator = torch.Generator().manual_seed(0)
    towers = [WhitenedHead(FEATURES, EMBEDDING) for _ in range(2)]
    for tower in towers:
        tower.fit_to_public(torch.randn(40, FEATURES, generator=generator))
    head = HashHead(embedding_dim=EMBEDDING, bit_width=48, num_centres=4, generator=generator)
    head.set_prototypes(torch.randn(40, EMBEDDING, generator=generator), generator=generator)
    return DualEncoder(*towers, head)


@pytest.fixture
def tiny_site(tiny_config: RunConfig, linear_model: DualEncoder) -> Site:
    """Twelve patients, the first two with several studies, and six held out."""
    generator = torch.Generator().manual_seed(1)

    def features(number: int) -> torch.Tensor:
        return torch.randn(number, FEATURES, generator=generator)

    held_out = tuple(StudyRecord(f"s{n}", f"p{n}", f"report {n}", sex="FM"[n % 2]) for n in range(12))
    return Site(
        name="north",
        config=tiny_config,
        config_digest=config_digest(tiny_config),
        model=linear_model,
        start=model_arrays(linear_model),
        private=Records(features(15), features(15), torch.tensor([0, 0, 0, 1, 1, *range(2, 12)])),
        held_out=HeldOut(features(12), features(12), held_out),
        anchors=(anchors := AnchorFeatures(features(30), features(30), torch.arange(30))),
        public_pairs=anchors,
        privacy=None,
        accounts=None,
        randomness=lambda round_number: SeededRandomness(torch_generator(0, "batches", round_number)),
    )


@pytest.fixture(scope="session")
def run_config() -> RunConfig:
    tiny = ["encoder.embedding_dim=8", "code.bit_width=48", "code.num_centres=4", "federation.rounds=2"]
    return load_config([*tiny, "evaluation.epsilon=1", "evaluation.least_group=20"])


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
        "privacy": {"least_peers": 2, "most_epsilon_alone": 1000.0},
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
