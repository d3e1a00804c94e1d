"""The whitened head against NumPy's singular value decomposition and one-record gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.func import functional_call, grad, vmap

from common.encoders.whitened_head import SHRINKAGE, WhitenedHead
from common.errors import ConfigError


def anchors(num_anchors: int = 60, feature_dim: int = 12, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(feature_dim, feature_dim, generator=generator)
    return torch.randn(num_anchors, feature_dim, generator=generator) @ mixing + 3


def fitted(features: Tensor, embedding_dim: int = 5) -> WhitenedHead:
    head = WhitenedHead(features.shape[1], embedding_dim)
    head.fit_to_public(features)
    return head


def test_head_equals_singular_value_decomposition() -> None:
    features = anchors()
    values = features.numpy().astype(np.float64)
    scores, singular, _ = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)
    variances = singular[:5] ** 2 / (len(values) - 1)
    expected = scores[:, :5] * singular[:5] / np.sqrt((1 - SHRINKAGE) * variances + SHRINKAGE * variances.mean())
    embedding = fitted(features)(features).detach().numpy()
    np.testing.assert_allclose(np.abs(embedding), np.abs(expected), rtol=1e-4, atol=1e-4)


def test_head_largest_entry_of_each_direction_is_positive() -> None:
    projection = fitted(anchors()).projection
    assert (projection.max(dim=0).values >= -projection.min(dim=0).values).all()


def test_head_order_of_anchors_does_not_matter() -> None:
    features = anchors()
    shuffled = features[torch.randperm(len(features), generator=torch.Generator().manual_seed(1))]
    torch.testing.assert_close(fitted(features).projection, fitted(shuffled).projection)


def test_head_same_anchors_same_bits() -> None:
    first, second = fitted(anchors()).state_dict(), fitted(anchors()).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@settings(max_examples=20, deadline=None)
@given(scale=st.floats(0.01, 100), shift=st.floats(-10, 10))
def test_head_units_of_features_do_not_matter(scale: float, shift: float) -> None:
    features = anchors()
    changed = features * scale + shift
    torch.testing.assert_close(fitted(features)(features), fitted(changed)(changed), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("num_anchors", [1, 5])
def test_head_too_few_anchors_names_field_and_remedy(num_anchors: int) -> None:
    with pytest.raises(ConfigError, match=r"encoder\.embedding_dim=5: .*data\.public_fraction"):
        fitted(anchors(num_anchors))


def test_head_least_number_of_anchors_is_enough() -> None:
    assert fitted(anchors(6))(anchors()).isfinite().all()


def test_head_wider_than_features_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"encoder\.embedding_dim=13: .*12"):
        WhitenedHead(12, 13)


def test_head_constant_features_stay_finite() -> None:
    features = torch.full((40, 12), 7.0)
    assert fitted(features)(features).isfinite().all()


def test_head_trains_only_the_square_matrix() -> None:
    head = WhitenedHead(12, 5)
    assert {name: tuple(p.shape) for name, p in head.named_parameters()} == {"linear.weight": (5, 5)}
    assert set(head.state_dict()) == {"linear.weight", "mean", "projection"}


def test_head_vmap_gradient_equals_one_record_at_a_time() -> None:
    features = anchors()
    head = fitted(features)
    parameters = {name: p.detach() for name, p in head.named_parameters()}
    buffers = dict(head.named_buffers())

    def loss(parameters: dict[str, Tensor], feature: Tensor) -> Tensor:
        return functional_call(head, (parameters, buffers), (feature[None],)).sin().sum()

    by_record = vmap(grad(loss), in_dims=(None, 0))(parameters, features)["linear.weight"]
    for feature, gradient in zip(features, by_record, strict=True):
        head.zero_grad()
        head(feature[None]).sin().sum().backward()
        torch.testing.assert_close(gradient, head.linear.weight.grad, rtol=1e-5, atol=1e-6)
