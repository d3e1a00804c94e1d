"""Jacobians of a tower's embeddings in its trained parameters, one record at a time: Gram matrices and pull-back.

The gradient of a function of one embedding is J^T g, with J the Jacobian of the embedding and g the function's
derivative there. Its squared norm is g^T (J J^T) g, so that one D x D Gram matrix a record gives the gradient norms of
all the pairs that the record is part of.

Costs D backward passes a record: quick for heads on cached features, slow for whole transformers.

Shapes: B records, R records of a chunk, D embedding, P trained parameters of the tower.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call, jacrev, vjp, vmap
from torch.nn.functional import normalize

from client.dp.records import Gradients
from common.encoders.dual import trainable_names
from common.encoders.interface import Tower

MOST_VALUES = 2**24
"""Values of Jacobians held at once (64 MiB in float32), though never less than one record's D times P."""


@dataclass(frozen=True, kw_only=True)
class TowerJacobian:
    """A tower as a function of its trained parameters, one record at a time.

    Both methods run the same forward pass on the same chunks, so that a gradient is pulled back through the very
    embedding whose Gram matrix bounded it.

    Attributes:
        tower: Features `[B, ...]` to embeddings `[B, D]`, not yet normalised.
        embedding_dim: D.
        chunk_size: Records differentiated at once, fewer where the tower is large.
    """

    tower: Tower
    embedding_dim: int
    chunk_size: int

    def embed(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Unit embeddings `[B, D]`, and Gram matrices `[B, D, D]` of their Jacobians in float64.

        The squares of tiny gradients would drown in float32, and an underestimated norm is clipped too little.
        """
        trained = self._trained()
        per_record = vmap(jacrev(self._embedding, has_aux=True), in_dims=(None, 0))
        embeddings, grams = [], []
        for chunk in features.split(self._records_at_once(trained)):
            jacobians, embedding_RD = per_record(trained, chunk)
            embeddings.append(embedding_RD)
            grams.append(_gram(jacobians))
        return torch.cat(embeddings), torch.cat(grams)

    def pull_back(self, features: Tensor, cotangent_BD: Tensor) -> Gradients:
        """Sum over the records of J^T g, by name within the tower."""
        trained = self._trained()

        def gradient(chunk: Tensor, cotangent: Tensor) -> Gradients:
            _, back = vjp(lambda parameters: self._embedding(parameters, chunk)[0], trained)
            (found,) = back(cotangent)
            return dict(found)

        total = {name: torch.zeros_like(parameter) for name, parameter in trained.items()}
        size = self._records_at_once(trained)
        for chunk, cotangent_RD in zip(features.split(size), cotangent_BD.split(size), strict=True):
            for name, gradient_R in vmap(gradient)(chunk, cotangent_RD).items():
                total[name] += gradient_R.sum(dim=0)
        return total

    def _embedding(self, parameters: Gradients, features: Tensor) -> tuple[Tensor, Tensor]:
        """One record's unit embedding `[D]`, as `DualEncoder` normalises it; twice, for `has_aux`."""
        frozen = {name: value for name, value in self.tower.state_dict().items() if name not in parameters}
        raw: Tensor = functional_call(self.tower, {**parameters, **frozen}, (features.unsqueeze(0),))
        embedding = normalize(raw, dim=-1).squeeze(0)
        return embedding, embedding

    def _trained(self) -> Gradients:
        return {name: self.tower.get_parameter(name).detach() for name in trainable_names(self.tower)}

    def _records_at_once(self, trained: Gradients) -> int:
        values = self.embedding_dim * sum(parameter.numel() for parameter in trained.values())
        return min(max(MOST_VALUES // max(values, 1), 1), self.chunk_size)


def _gram(jacobians: Gradients) -> Tensor:
    """Sum over the parameters of J J^T, `[R, D, D]`."""
    blocks = (jacobian.flatten(2).double() for jacobian in jacobians.values())
    return torch.as_tensor(sum(block @ block.mT for block in blocks))
