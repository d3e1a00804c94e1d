"""The dual encoder: unit embeddings, codes in their range, and batches that change nothing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from common.encoders.dual import DualEncoder, embed_in_batches, trainable_names
from common.encoders.whitened_head import WhitenedHead
from common.hashing.head import HashHead


@pytest.fixture
def model() -> DualEncoder:
    head = HashHead(embedding_dim=6, bit_width=48, num_centres=4, generator=torch.Generator().manual_seed(0))
    return DualEncoder(WhitenedHead(12, 6), WhitenedHead(12, 6), head)


def features(seed: int) -> torch.Tensor:
    return torch.randn(10, 12, generator=torch.Generator().manual_seed(seed))


def test_embeddings_have_unit_length_and_codes_their_range(model: DualEncoder) -> None:
    for half in model(features(1), features(2)):
        torch.testing.assert_close(half.embedding.norm(dim=1), torch.ones(10))
        assert half.code.shape == (10, 48)
        assert (half.code.abs() < 1).all()


def test_both_modalities_share_the_hash_head(model: DualEncoder) -> None:
    image, report = model(features(1), features(1))
    torch.testing.assert_close(image.code, report.code)
    torch.testing.assert_close(image.code, torch.tanh(model.hash_head(2 * 6**0.5 * image.embedding)))


def test_length_of_the_features_does_not_matter(model: DualEncoder) -> None:
    torch.testing.assert_close(model.embed_images(features(1)).embedding, model.embed_images(features(1) * 7).embedding)


@pytest.mark.parametrize("batch_size", [1, 3, 10, 100])
def test_embed_in_batches_equals_the_whole(model: DualEncoder, batch_size: int) -> None:
    whole = model(features(1), features(2))
    found = embed_in_batches(model, features(1), features(2), batch_size=batch_size)
    for half, expected in zip(found, whole, strict=True):
        torch.testing.assert_close(half.embedding, expected.embedding)
        torch.testing.assert_close(half.code, expected.code)
        assert not half.embedding.requires_grad


def test_trainable_names_leave_out_buffers_and_frozen_parameters(model: DualEncoder) -> None:
    model.image_tower.requires_grad_(requires_grad=False)
    assert trainable_names(model) == ("report_tower.linear.weight", "hash_head.weight")
    assert all(isinstance(model.get_parameter(name), nn.Parameter) for name in trainable_names(model))
