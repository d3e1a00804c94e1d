"""Ghost clipping of published transformers' blocks, trained whole or by adapters, against `vmap` of single records."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel, Dinov2Config, Dinov2Model, ViTConfig, ViTModel

from common.encoders.dual import DualEncoder
from common.encoders.hub import TransformerTower
from common.encoders.hub_backbone import Tail
from common.encoders.whitened_head import WhitenedHead
from common.errors import ConfigError
from common.hashing.head import HashHead
from common.losses.public import embed_public

WIDTH, TOKENS = 16, 5
SMALL = {"hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2, "attn_implementation": "eager"}


def tower(name: str) -> TransformerTower:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if name == "bert":
            bert = BertModel(BertConfig(**SMALL, intermediate_size=24, vocab_size=10))
            tail = Tail(tuple(bert.encoder.layer), torch.nn.Identity())
        elif name == "vit":
            vit = ViTModel(ViTConfig(**SMALL, intermediate_size=24, image_size=32, patch_size=8))
            tail = Tail(tuple(vit.layers), vit.layernorm)
        else:
            dino = Dinov2Model(Dinov2Config(**SMALL, image_size=32, patch_size=8))
            tail = Tail(tuple(dino.encoder.layer), dino.layernorm)
        return TransformerTower(tail, WhitenedHead(WIDTH, 8))


def hub_case(make_case: Any, image: str, *, adapters: bool) -> Any:
    """Twelve studies of six patients as hidden states with a mask."""
    case = make_case("heads")
    towers = tower(image), tower("bert")
    if adapters:
        for one in towers:
            one.adapt(rank=2, seed=0)
            for name, parameter in one.named_parameters():
                if name.endswith("up.weight"):
                    torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(2)
    head = HashHead(embedding_dim=8, bit_width=48, num_centres=4, generator=generator)
    model = DualEncoder(*towers, head)
    states = torch.randn(2, 32, TOKENS, WIDTH + 1, generator=generator)
    states[..., -1] = 1.0
    states[1, ::2, 3:, -1] = 0.0
    model.train()
    public = embed_public(model, states[0, 12:], states[1, 12:])
    records = replace(case.records, images=states[0, :12], reports=states[1, :12], views=states[0, :12].roll(1, dims=1))
    return replace(case, model=model, records=records, public=public)


def flat(gradients: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([value.flatten() for value in gradients.values()])


@pytest.mark.parametrize("adapters", [False, True])
@pytest.mark.parametrize("clipping", ["flat", "per_layer"])
def test_ghost_equals_vmap(make_case: Any, clipping: str, adapters: bool) -> None:  # noqa: FBT001 - a test's parameter
    case = hub_case(make_case, "vit", adapters=adapters)
    sums = [
        flat(
            case.engine(gradients=path, clipping=clipping, chunk_size=5).clipped_sum(
                case.model, case.records, case.public
            )
        )
        for path in ("ghost", "vmap")
    ]
    assert (sums[0] - sums[1]).norm() < 1e-5 * sums[1].norm()


def test_ghost_refuses_dinov2s_bare_scale(make_case: Any) -> None:
    case = hub_case(make_case, "dinov2", adapters=False)
    with pytest.raises(ConfigError, match=r"training\.gradients=ghost: .*layer_scale1.*vmap"):
        case.engine(gradients="ghost").clipped_sum(case.model, case.records, case.public)


def test_adapters_on_dinov2_take_the_closed_form(make_case: Any) -> None:
    case = hub_case(make_case, "dinov2", adapters=True)
    sums = [
        flat(case.engine(gradients=path).clipped_sum(case.model, case.records, case.public))
        for path in ("auto", "vmap")
    ]
    assert (sums[0] - sums[1]).norm() < 1e-5 * sums[1].norm()
