"""A small subject that the checks attack, prepared once."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.config.load import load_config
from simulations.audits.privacy.subject import Subject, prepare_subject

SMALL = (
    "data.synthetic.num_sites=2",
    "data.synthetic.patients_per_site=40",
    "data.synthetic.public_patients=40",
    "data.least_patients=2",
    "encoder.embedding_dim=32",
    "encoder.image_depth=1",
    "code.bit_width=48",
    "code.num_centres=4",
    "loss.num_anchors=32",
    "public_fit.steps=3",
    "public_fit.batch_size=16",
    "training.steps_per_round=5",
    "federation.rounds=2",
    "privacy.calibrate=false",
)
FOUR = (
    "data.synthetic.num_sites=4",
    "data.synthetic.patients_per_site=14",
    "privacy.noise=shared",
    "aggregator.name=caf",
)


def prepared(folder: Path, *more: str) -> Subject:
    """The small subject, with other settings laid over."""
    config = load_config([*SMALL, *more, f"encoder.cache={folder}"], scenario="audit")
    return prepare_subject(config, progress=lambda _: None)


@pytest.fixture(scope="session")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """Two hospitals of forty patients."""
    return prepared(tmp_path_factory.mktemp("features"))


@pytest.fixture(scope="session")
def sharing(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """Four hospitals that share noise, one of which may collude."""
    return prepared(tmp_path_factory.mktemp("features"), *FOUR)
