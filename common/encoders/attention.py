"""Scaled dot-product attention that `torch.func.vmap` batches on the CPU.

PyTorch's CPU kernel has no batching rule: under `vmap` it runs once for each record, which costs a private step of a
small transformer a fifth of its time. Here a vmapped dimension is folded into the batch and the kernel runs once.
Values and gradients are those of the kernel. On other devices PyTorch has the rule.

Shapes: B batch, H heads, T tokens, F features of a head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

_FORWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # noqa: SLF001 - torch is pinned exactly
_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward  # noqa: SLF001


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Attended values `[B, H, T, F]`; a mask `[B, 1, 1, T]` is true where a token may be attended to."""
    if query.device.type != "cpu" or torch.compiler.is_exporting():  # an exported graph knows PyTorch's own alone
        return scaled_dot_product_attention(query, key, value, attn_mask=mask)
    bias = None if mask is None else torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, -torch.inf)
    attended: Tensor = _Attention.apply(query, key, value, bias)[0]  # type: ignore[no-untyped-call]
    return attended


class _Attention(torch.autograd.Function):
    """The kernel, with the logarithm of its normaliser as second output."""

    @staticmethod
    def forward(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        attended: tuple[Tensor, Tensor] = _FORWARD(query, key, value, attn_mask=bias)
        return attended

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor | None, ...], output: tuple[Tensor, Tensor]) -> None:  # noqa: ANN401 - torch's type
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*inputs, *output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        return (*_AttentionGradient.apply(gradient, *ctx.saved_tensors), None)  # type: ignore[no-untyped-call]

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *tensors: Tensor | None) -> tuple[Any, tuple[int, ...]]:  # noqa: ANN401
        outputs = _Attention.apply(*_folded(info.batch_size, in_dims, tensors))  # type: ignore[no-untyped-call]
        return tuple(output.unflatten(0, (info.batch_size, -1)) for output in outputs), (0, 0)


class _AttentionGradient(torch.autograd.Function):
    """The kernel's gradient of query, key and value."""

    @staticmethod
    def forward(
        gradient: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        bias: Tensor | None,
        attended: Tensor,
        log_normaliser: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        gradients: tuple[Tensor, Tensor, Tensor] = _BACKWARD(
            gradient, query, key, value, attended, log_normaliser, 0.0, is_causal=False, attn_mask=bias
        )
        return gradients

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor | None, ...], output: tuple[Tensor, ...]) -> None:  # noqa: ANN401
        """Nothing is kept: training needs no second derivative."""

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *tensors: Tensor | None) -> tuple[Any, tuple[int, ...]]:  # noqa: ANN401
        outputs = _AttentionGradient.apply(*_folded(info.batch_size, in_dims, tensors))  # type: ignore[no-untyped-call]
        return tuple(output.unflatten(0, (info.batch_size, -1)) for output in outputs), (0, 0, 0)


def _folded(size: int, dims: tuple[int | None, ...], tensors: tuple[Tensor | None, ...]) -> list[Tensor | None]:
    """Tensors whose vmapped dimension, of a size, is part of their first dimension."""
    return [None if tensor is None else _fold(size, dim, tensor) for dim, tensor in zip(dims, tensors, strict=True)]


def _fold(size: int, dim: int | None, tensor: Tensor) -> Tensor:
    batched = tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
    return batched.flatten(0, 1)
