"""Gram matrices and pull-backs of both forms against autograd's Jacobian in float64."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from client.dp.tower_jacobian import HeadJacobian, Jacobian, TowerJacobian, jacobian_of
from common.encoders.dual import DualEncoder
from common.encoders.whitened_head import WhitenedHead

FEATURES, EMBEDDING = 12, 6


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def head(linear_model: DualEncoder) -> WhitenedHead:
    tower = linear_model.image_tower
    assert isinstance(tower, WhitenedHead)
    with torch.no_grad():
        tower.linear.weight.add_(0.3 * normal(EMBEDDING, EMBEDDING, seed=3))
    return tower


def reference(tower: WhitenedHead, features: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings `[B, D]` and Jacobians `[B, D, P]`, one output at a time."""
    exact = copy.deepcopy(tower).double()
    embedding = normalize(exact(features.double()), dim=-1)
    rows = [
        torch.autograd.grad(value, exact.linear.weight, retain_graph=True)[0].flatten() for value in embedding.flatten()
    ]
    return embedding.detach(), torch.stack(rows).view(len(features), EMBEDDING, -1)


def both(tower: WhitenedHead) -> list[Jacobian]:
    return [HeadJacobian(tower), TowerJacobian(tower=tower, embedding_dim=EMBEDDING, chunk_size=3)]


@pytest.mark.parametrize("form", [0, 1])
def test_gram_and_pull_back_equal_autograd(head: WhitenedHead, form: int) -> None:
    features, cotangent = normal(7, FEATURES, seed=1), normal(7, EMBEDDING, seed=2).double()
    jacobian = both(head)[form]
    embedding, gram = jacobian.embed(features)
    expected, jacobians = reference(head, features)
    torch.testing.assert_close(embedding, expected, rtol=1e-5, atol=1e-6)
    for number, vector in enumerate(normal(4, EMBEDDING, seed=4).double()):
        squares = torch.einsum("bdp,d->bp", jacobians, vector).square().sum(dim=1)
        found = gram.all_squares(torch.stack([vector, 2 * vector]))
        torch.testing.assert_close(found, torch.stack([squares, 4 * squares], dim=1), rtol=1e-5, atol=1e-9)
        one = gram.rows(slice(number, number + 1)).own_squares(vector[None])
        torch.testing.assert_close(one, squares[number, None], rtol=1e-5, atol=1e-9)
    own = torch.einsum("bdp,bd->bp", jacobians, cotangent).square().sum(dim=1)
    torch.testing.assert_close(gram.own_squares(cotangent), own, rtol=1e-5, atol=1e-9)
    pulled = jacobian.pull_back(features, cotangent)["linear.weight"]
    torch.testing.assert_close(pulled.flatten(), torch.einsum("bdp,bd->p", jacobians, cotangent), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", [0, 1])
def test_trace_is_at_least_the_squared_norm_of_the_jacobian(head: WhitenedHead, form: int) -> None:
    features = normal(7, FEATURES, seed=1)
    squares = reference(head, features)[1].square().sum(dim=(1, 2))
    ratio = both(head)[form].embed(features)[1].traces_B / squares
    assert (ratio > 1 - 1e-5).all()
    assert (ratio < 1.5).all()


def test_closed_form_serves_whitened_heads_alone(head: WhitenedHead) -> None:
    assert isinstance(jacobian_of(head, embedding_dim=EMBEDDING, chunk_size=3), HeadJacobian)
    head.register_parameter("extra", torch.nn.Parameter(torch.zeros(2)))
    assert isinstance(jacobian_of(head, embedding_dim=EMBEDDING, chunk_size=3), TowerJacobian)
