"""Contract of every encoder: a tower's output for a record is that record's alone, whatever stands beside it.

The closed-form gradient paths rest on it; `vmap` enforces it by itself.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from common.config.load import load_config
from common.encoders.public_fit import fresh_model, split_frozen
from common.encoders.scratch import build
from common.encoders.whitened_head import WhitenedHead

SIZES = {"embedding_dim": 8, "image_size": 16, "patch_size": 8, "width": 16, "image_depth": 1, "report_depth": 1}
SIZES |= {"num_heads": 2, "max_tokens": 8, "vocabulary": 64, "lora_rank": 2}


def treats_records_alone(tower: nn.Module, features: Tensor) -> bool:
    """Whether each record's output stays when the others are replaced by the last one."""
    tower.train()
    with torch.no_grad():
        together = tower(features)
        beside_others = [
            tower(torch.cat([features[n : n + 1], features[-1:].expand_as(features[1:])]))[0] for n in range(4)
        ]
    return torch.allclose(together[:4], torch.stack(beside_others), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("trainable", ["heads", "lora", "all"])
def test_scratch_towers_treat_records_alone(trainable: str) -> None:
    sizes = [f"encoder.{name}={size}" for name, size in SIZES.items()]
    config = load_config([*sizes, f"encoder.trainable={trainable}", "code.bit_width=48", "code.num_centres=4"])
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (8, 16, 16), generator=generator, dtype=torch.uint8)
    reports = torch.randint(1, 64, (8, 8), generator=generator)
    frozen, model = split_frozen(fresh_model(build(config.encoder), config))
    if frozen is not None:
        images, reports = frozen.features_of(images, reports)
    assert treats_records_alone(model.image_tower, images)
    assert treats_records_alone(model.report_tower, reports)


def test_whitened_head_treats_records_alone() -> None:
    features = torch.randn(40, 12, generator=torch.Generator().manual_seed(0))
    head = WhitenedHead(12, 6)
    head.fit_to_public(features)
    assert treats_records_alone(head, features[:8])


def test_batch_norm_is_caught() -> None:
    """The control."""
    features = torch.randn(8, 12, generator=torch.Generator().manual_seed(0))
    assert not treats_records_alone(nn.BatchNorm1d(12), features)
