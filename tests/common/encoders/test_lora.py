"""Adapters: no change at the start, only adapters train, and a federation of them runs end to end."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from common.config.load import load_config
from common.config.schema import RunConfig
from common.encoders.dual import trainable_names
from common.encoders.lora import LoraLinear, adapted
from common.encoders.public_fit import AnchorFeatures, fit_to_public, fresh_model, split_frozen
from common.encoders.scratch import build
from common.errors import ConfigError


def config(*overrides: str) -> RunConfig:
    sizes = {"embedding_dim": 8, "image_size": 16, "patch_size": 8, "width": 16, "image_depth": 1, "report_depth": 1}
    sizes |= {"num_heads": 2, "max_tokens": 8, "vocabulary": 64, "lora_rank": 2}
    return load_config(
        [
            *(f"encoder.{name}={size}" for name, size in sizes.items()),
            "encoder.trainable=lora",
            "code.bit_width=48",
            "code.num_centres=4",
            "public_fit.steps=3",
            "public_fit.batch_size=16",
            *overrides,
        ]
    )


def anchors() -> AnchorFeatures:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (24, 16, 16), generator=generator, dtype=torch.uint8)
    return AnchorFeatures(images, torch.randint(1, 64, (24, 8), generator=generator), torch.arange(24))


def linear(width: int = 12) -> nn.Linear:
    generator = torch.Generator().manual_seed(1)
    layer = nn.Linear(width, width)
    with torch.no_grad():
        layer.weight.normal_(generator=generator)
    return layer


def test_start_is_no_change_to_the_bit() -> None:
    layer = linear()
    entered = torch.randn(5, 3, 12, generator=torch.Generator().manual_seed(2))
    assert torch.equal(adapted(nn.Sequential(layer), rank=2, seed=0)(entered), layer(entered))


def test_change_is_of_the_rank() -> None:
    layer = LoraLinear(linear(), rank=2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        layer.up.weight.normal_(generator=torch.Generator().manual_seed(3))
        change = layer(torch.eye(12)) - layer.base(torch.eye(12))
    assert torch.linalg.matrix_rank(change) == 2


def test_only_adapters_train_and_the_given_module_is_untouched() -> None:
    given = nn.Sequential(linear(), nn.LayerNorm(12))
    copied = adapted(given, rank=2, seed=0)
    trained = [name for name, parameter in copied.named_parameters() if parameter.requires_grad]
    assert trained == ["0.down.weight", "0.up.weight"]
    assert all(parameter.requires_grad for parameter in given.parameters())


def test_same_seed_gives_the_same_start() -> None:
    first, second, other = (adapted(nn.Sequential(linear()), rank=2, seed=seed) for seed in (0, 0, 1))
    name = "0.down.weight"
    assert torch.equal(first.get_parameter(name), second.get_parameter(name))
    assert not torch.equal(first.get_parameter(name), other.get_parameter(name))


def test_rank_that_is_not_low_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"encoder\.lora_rank=12: .*width 12"):
        adapted(nn.Sequential(linear()), rank=12, seed=0)


def test_scratch_towers_with_adapters_start_from_the_public_fit() -> None:
    torch.set_num_threads(1)
    run = config()
    model = fresh_model(build(run.encoder), run)
    fit_to_public(model, anchors(), run)
    frozen, adapting = split_frozen(model)
    assert frozen is not None
    images, reports = frozen.features_of(anchors().images, anchors().reports)
    assert torch.equal(images, anchors().images)
    with torch.no_grad():
        pooled = model.image_tower.get_submodule("trunk")(images)
        found = adapting.image_tower.get_submodule("trunk")(images)
    assert torch.equal(found, pooled)
    fit_to_public(adapting, AnchorFeatures(images, reports, anchors().patients), run)
    names = trainable_names(adapting)
    assert all(name.split(".")[-2] in {"down", "up", "linear", "hash_head"} for name in names)
    assert len(names) == 2 * (4 * 2 + 1) + 1


def test_hub_without_blocks_to_adapt_is_refused() -> None:
    from common.encoders.hub import build as build_hub

    with pytest.raises(ConfigError, match=r"encoder\.trainable=lora: .*trainable_blocks"):
        build_hub(load_config(["encoder.name=hub", "encoder.trainable=lora"]).encoder)
