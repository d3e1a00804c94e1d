"""A site small enough to train in milliseconds."""

from __future__ import annotations

import pytest
import torch

from client.dp.randomness import SeededRandomness
from client.dp.records import Records
from client.site import HeldOut, Site
from common.config.load import config_digest, load_config
from common.config.schema import RunConfig
from common.encoders.dual import DualEncoder
from common.encoders.public_fit import AnchorFeatures
from common.encoders.whitened_head import WhitenedHead
from common.hashing.head import HashHead
from common.seeds import torch_generator
from common.types import StudyRecord

FEATURES, EMBEDDING = 12, 6


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

    held_out = tuple(StudyRecord(f"s{n}", f"p{n}", f"report {n}", sex="FM"[n % 2]) for n in range(6))
    return Site(
        name="north",
        config=tiny_config,
        config_digest=config_digest(tiny_config),
        model=linear_model,
        private=Records(features(15), features(15), torch.tensor([0, 0, 0, 1, 1, *range(2, 12)])),
        held_out=HeldOut(features(6), features(6), held_out),
        anchors=AnchorFeatures(features(30), features(30), torch.arange(30)),
        privacy=None,
        purse=None,
        randomness=lambda round_number: SeededRandomness(torch_generator(0, "batches", round_number)),
    )
