"""Attention equals PyTorch's, with and without `vmap`, and runs its kernel once for a vmapped batch."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor
from torch.func import grad, vmap
from torch.nn.functional import scaled_dot_product_attention

from common.encoders.attention import attention


def heads(*, masked: bool) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(5, 2, 7, 4, generator=generator) for _ in range(3))
    lengths = torch.tensor([7, 1, 3, 5, 2])
    mask = (torch.arange(7) < lengths[:, None])[:, None, None, :]
    return query, key, value, mask if masked else None


@pytest.mark.parametrize("masked", [True, False])
def test_attention_equals_pytorch(masked: bool) -> None:  # noqa: FBT001 - a parameter of the test
    query, key, value, mask = heads(masked=masked)
    for tensor in (query, key, value):
        tensor.requires_grad_(requires_grad=True)
    found = attention(query, key, value, mask)
    expected = scaled_dot_product_attention(query, key, value, attn_mask=mask)
    torch.testing.assert_close(found, expected)
    weights = torch.linspace(-1, 1, found.numel()).view_as(found)
    for one, other in zip(
        torch.autograd.grad((found * weights).sum(), (query, key, value)),
        torch.autograd.grad((expected * weights).sum(), (query, key, value)),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("masked", [True, False])
def test_vmapped_gradients_equal_a_loop_without_the_slow_path(masked: bool) -> None:  # noqa: FBT001
    query, key, value, mask = heads(masked=masked)

    def length(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        inputs = (query[None], key[None], value[None], None if mask is None else mask[None])
        return attention(*inputs).square().sum()

    per_record = vmap(grad(length, argnums=(0, 1, 2)), in_dims=(0, 0, 0, 0 if masked else None))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # PyTorch warns where it falls back to a loop
        found = per_record(query, key, value, mask)
    for row in range(5):
        own = [tensor[row].clone().requires_grad_(requires_grad=True) for tensor in (query, key, value)]
        row_mask = None if mask is None else mask[row]
        expected = scaled_dot_product_attention(
            *(o[None] for o in own), attn_mask=None if mask is None else row_mask[None]
        )
        for one, other in zip(found, torch.autograd.grad(expected.square().sum(), own), strict=True):
            torch.testing.assert_close(one[row], other)
