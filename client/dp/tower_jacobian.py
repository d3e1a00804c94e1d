"""Jacobians of a tower's unit embeddings in its trained parameters: their Gram matrices and their pull-back.

The gradient of a function of one embedding u is J^T g, with J the Jacobian of u and g the function's derivative at u.
Its squared norm is g^T (J J^T) g, so one D x D Gram matrix K = J J^T a record gives the norms of all the pairs that the
record is part of, and the sum of many such gradients is one pull-back of the sum of their g.

Whatever is pulled back goes through the very forward pass whose Gram matrix bounded it.

Shapes: B records, R records of a chunk, N vectors, D embedding, P trained parameters of the tower.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.func import functional_call, jacrev, vjp, vmap
from torch.nn.functional import normalize

from client.dp.records import Gradients
from common.encoders.dual import trainable_names
from common.encoders.interface import Tower
from common.encoders.whitened_head import WhitenedHead

SQUARED_ROUNDING = 1e-7
"""Error of a norm that is the root of a sum of float64 squares, over the size of the terms: they may cancel."""

MOST_VALUES = 2**24
"""Values of Jacobians held at once (64 MiB in float32), though never less than one record's D times P."""

_SHORTEST = 1e-12
"""Length below which `normalize` divides by this instead."""


class Gram(Protocol):
    """Gram matrices K of B records' Jacobians, float64."""

    @property
    def traces_B(self) -> Tensor:
        """Squared Frobenius norms of the Jacobians; not finite where a number of the Jacobian is not."""
        ...

    def own_squares(self, vector_BD: Tensor) -> Tensor:
        """v^T K v `[B]` of each record's own vector."""
        ...

    def all_squares(self, vector_ND: Tensor) -> Tensor:
        """v^T K v `[B, N]` of each record with each vector."""
        ...

    def rows(self, rows: slice | Tensor) -> Gram:
        """Some of the records."""
        ...


class Jacobian(Protocol):
    """A tower as a function of its trained parameters, one record at a time."""

    @property
    def rounding(self) -> float:
        """Error of a pulled-back gradient and of its norm, over the Jacobian's norm times the cotangent's."""
        ...

    def embed(self, features: Tensor) -> tuple[Tensor, Gram]:
        """Unit embeddings `[B, D]` of features `[B, ...]`, and their Gram matrices."""
        ...

    def pull_back(self, features: Tensor, cotangent_BD: Tensor) -> Gradients:
        """Sum over the records of J^T g, float64, by name within the tower."""
        ...


def jacobian_of(tower: Tower, *, embedding_dim: int, chunk_size: int) -> Jacobian:
    """The closed form where the tower is a linear head on cached features, else the general one."""
    if type(tower) is WhitenedHead and trainable_names(tower) == ("linear.weight",):
        return HeadJacobian(tower)
    return TowerJacobian(tower=tower, embedding_dim=embedding_dim, chunk_size=chunk_size)


@dataclass(frozen=True)
class DenseGram:
    """Gram matrices of any tower."""

    gram_BDD: Tensor

    @property
    def traces_B(self) -> Tensor:
        """See `Gram`."""
        return self.gram_BDD.diagonal(dim1=-2, dim2=-1).sum(dim=-1)

    def own_squares(self, vector_BD: Tensor) -> Tensor:
        """See `Gram`."""
        return ((vector_BD[:, None] @ self.gram_BDD).squeeze(1) * vector_BD).sum(dim=-1)

    def all_squares(self, vector_ND: Tensor) -> Tensor:
        """See `Gram`."""
        return ((vector_ND @ self.gram_BDD) * vector_ND).sum(dim=-1)

    def rows(self, rows: slice | Tensor) -> DenseGram:
        """See `Gram`."""
        return DenseGram(self.gram_BDD[rows])


@dataclass(frozen=True, kw_only=True)
class TowerJacobian:
    """Any tower, by D backward passes a record: for small towers; whole transformers take long.

    Attributes:
        tower: Features `[B, ...]` to embeddings `[B, D]`, not yet normalised.
        embedding_dim: D.
        chunk_size: Records differentiated at once, fewer where the tower is large.
    """

    tower: Tower
    embedding_dim: int
    chunk_size: int

    @property
    def rounding(self) -> float:
        """See `Jacobian`; some units in the last place of the tower's precision."""
        parameter = next(self.tower.parameters())
        return max(16 * torch.finfo(parameter.dtype).eps, SQUARED_ROUNDING)

    def embed(self, features: Tensor) -> tuple[Tensor, Gram]:
        """See `Jacobian`."""
        trained = self._trained()
        per_record = vmap(jacrev(self._embedding, has_aux=True), in_dims=(None, 0))
        embeddings, grams = [], []
        for chunk in features.split(self._records_at_once(trained)):
            jacobians, embedding_RD = per_record(trained, chunk)
            embeddings.append(embedding_RD.double())
            grams.append(_gram(jacobians))
        return torch.cat(embeddings), DenseGram(torch.cat(grams))

    def pull_back(self, features: Tensor, cotangent_BD: Tensor) -> Gradients:
        """See `Jacobian`."""
        trained = self._trained()

        def gradient(chunk: Tensor, cotangent: Tensor) -> Gradients:
            embedding, back = vjp(lambda parameters: self._embedding(parameters, chunk)[0], trained)[:2]
            (found,) = back(cotangent.to(embedding))
            return dict(found)

        total = {name: torch.zeros_like(parameter, dtype=torch.float64) for name, parameter in trained.items()}
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
    """Sum over the parameters of J J^T, `[R, D, D]`; in float32 the squares of small gradients would drown."""
    blocks = (jacobian.flatten(2).double() for jacobian in jacobians.values())
    return torch.as_tensor(sum(block @ block.mT for block in blocks))


@dataclass(frozen=True, kw_only=True)
class HeadGram:
    """K = scale (I - u u^T), of a linear map before the unit length.

    Attributes:
        scale_B: (|z| / |W z|)^2.
        embedding_BD: u = W z / |W z|.
    """

    scale_B: Tensor
    embedding_BD: Tensor

    @property
    def traces_B(self) -> Tensor:
        """See `Gram`; D times the scale, a little more than the trace."""
        return self.scale_B * self.embedding_BD.shape[-1]

    def own_squares(self, vector_BD: Tensor) -> Tensor:
        """See `Gram`."""
        along_B = (self.embedding_BD * vector_BD).sum(dim=-1)
        return self.scale_B * (vector_BD.square().sum(dim=-1) - along_B.square())

    def all_squares(self, vector_ND: Tensor) -> Tensor:
        """See `Gram`."""
        along_BN = self.embedding_BD @ vector_ND.T
        return self.scale_B[:, None] * (vector_ND.square().sum(dim=-1) - along_BN.square())

    def rows(self, rows: slice | Tensor) -> HeadGram:
        """See `Gram`."""
        return HeadGram(scale_B=self.scale_B[rows], embedding_BD=self.embedding_BD[rows])


@dataclass(frozen=True)
class HeadJacobian:
    """A whitened head, in closed form and in float64.

    With z the whitened features and u = W z / |W z|, a change of W by V changes u by (I - u u^T) V z / |W z|.
    """

    tower: WhitenedHead
    rounding: float = SQUARED_ROUNDING

    def embed(self, features: Tensor) -> tuple[Tensor, Gram]:
        """See `Jacobian`."""
        whitened_BD, embedding_BD, length_B = self._forward(features)
        scale_B = (whitened_BD.norm(dim=-1) / length_B).square()
        return embedding_BD, HeadGram(scale_B=scale_B, embedding_BD=embedding_BD)

    def pull_back(self, features: Tensor, cotangent_BD: Tensor) -> Gradients:
        """See `Jacobian`."""
        whitened_BD, embedding_BD, length_B = self._forward(features)
        along_B = (embedding_BD * cotangent_BD).sum(dim=-1)
        raw_BD = (cotangent_BD - along_B[:, None] * embedding_BD) / length_B[:, None]
        return {"linear.weight": raw_BD.T @ whitened_BD}

    def _forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Whitened features, unit embeddings, and lengths before, as `normalize` guards them."""
        mean, projection = self.tower.mean.double(), self.tower.projection.double()
        whitened_BD = (features.double() - mean) @ projection
        raw_BD = whitened_BD @ self.tower.linear.weight.detach().double().T
        length_B = raw_BD.norm(dim=-1).clamp(min=_SHORTEST)
        return whitened_BD, raw_BD / length_B[:, None], length_B
