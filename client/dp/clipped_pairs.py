"""The clipped gradients of all pairs of a sample, without forming any: their norms, and the cotangents of their sum.

A pair's value depends on the cosine of two embeddings and on the cosine of their two relaxed codes,

    value(i, j) = term(u_i . t_j) + code.weight * term(x_i . y_j)    + the code's own terms where i = j,

so its gradient lies in three disjoint groups of parameters, and the squared norms add up:

1. image tower: slope^2 t_j^T K_i t_j, with K_i the Gram matrix of u_i's Jacobian and slope the derivative of the term;
2. report tower: slope^2 u_i^T H_j u_i;
3. hash head, which both modalities share: the codes tanh(s W u_i) and tanh(s W t_j), with s the head's public scale,
   give s (a u_i^T + b t_j^T) with a and b the derivatives at the head's output, so s^2 times |a|^2 |u_i|^2 +
   |b|^2 |t_j|^2 + 2 (a . b)(u_i . t_j).

Once each pair has its factor c, the sum of the clipped gradients is one pull-back of the cotangents sum_j c slope t_j.
All is float64.

Shapes: B records, I records of a block, D embedding, K bits. Rows are images, columns are reports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from client.dp.tower_jacobian import SQUARED_ROUNDING, Gram
from common.losses.interface import PairLoss

STEEPEST = 1e-2
"""Greatest rounding error of a gradient at a tower, over the cotangent: beyond it, it says little but rounding."""

_TINY = 1e-300


@dataclass(frozen=True, kw_only=True)
class Side:
    """One modality of the sample, in float64.

    Attributes:
        embedding_BD: Unit embeddings.
        head_scale: What they are multiplied with before the hash head.
        gram: Gram matrices of their Jacobians in the tower's trained parameters.
        code_BK: Relaxed codes, tanh of the hash head's output.
        rounding: Error of a pulled-back gradient over the norm of the Jacobian (`Jacobian.rounding`).
    """

    embedding_BD: Tensor
    head_scale: float
    gram: Gram
    code_BK: Tensor
    rounding: float

    @property
    def unit_code_BK(self) -> Tensor:
        """Codes of unit length."""
        return normalize(self.code_BK, dim=-1)

    @property
    def code_slope_BK(self) -> Tensor:
        """Derivative of tanh over the code's length: from a cotangent of the unit code to one of the head's output."""
        return (1 - self.code_BK.square()) * self.code_steepness_B[:, None]

    @property
    def code_steepness_B(self) -> Tensor:
        """One over the code's length, as `normalize` guards it."""
        return torch.reciprocal(self.code_BK.norm(dim=-1).clamp(min=1e-12))

    @property
    def rounding_B(self) -> Tensor:
        """Error of a gradient that is pulled back through the tower, for a cotangent of unit length."""
        return self.rounding * self.gram.traces_B.sqrt()

    def usable_B(self) -> Tensor:
        """Which records hold finite numbers only, under a tower that is not too steep there; told by each alone."""
        finite_B = self.embedding_BD.isfinite().all(dim=-1) & self.code_slope_BK.isfinite().all(dim=-1)
        return finite_B & (self.rounding_B < STEEPEST)

    def rows(self, rows: slice | Tensor) -> Side:
        """Some of the records."""
        return Side(
            embedding_BD=self.embedding_BD[rows],
            head_scale=self.head_scale,
            gram=self.gram.rows(rows),
            code_BK=self.code_BK[rows],
            rounding=self.rounding,
        )


@dataclass(frozen=True, kw_only=True)
class Cotangents:
    """Derivatives of the sum of clipped pairs at every record's embedding `[B, D]` and hash head output `[B, K]`."""

    image_BD: Tensor
    report_BD: Tensor
    image_head_BK: Tensor
    report_head_BK: Tensor

    def head_weight(self, image: Side, report: Side) -> Tensor:
        """Gradient `[K, D]` of the hash head's weight."""
        halves = ((self.image_head_BK, image), (self.report_head_BK, report))
        return torch.stack([side.head_scale * head_BK.T @ side.embedding_BD for head_BK, side in halves]).sum(dim=0)

    def __add__(self, other: Cotangents) -> Cotangents:
        return Cotangents(**{name: value + getattr(other, name) for name, value in vars(self).items()})


@dataclass(frozen=True, kw_only=True)
class ClippedPairs:
    """How a sample's pairs are valued and clipped.

    Attributes:
        contrast: The terms.
        expected_patients: What the terms are told of the size of a batch; public.
        code_weight: Weight of the codes' terms beside the embeddings'.
        positive_clip: Bound on the gradient of a record's own pair.
        negative_clip: Bound on the gradient of a pair of two patients.
        block_size: Rows of pairs looked at together; bounds memory at `block_size` times B times D values.
    """

    contrast: PairLoss
    expected_patients: float
    code_weight: float
    positive_clip: float
    negative_clip: float
    block_size: int

    def cotangents(self, image: Side, report: Side, code_shape: Callable[[Tensor, Tensor], Tensor]) -> Cotangents:
        """Of all the pairs of a sample.

        Args:
            image: The images.
            report: Their reports, in the same order.
            code_shape: Values `[B]` of relaxed codes `[B, K]` of images and reports that no other record enters.
        """
        return self._positives(image, report, code_shape) + self._negatives(image, report)

    def _positives(self, image: Side, report: Side, code_shape: Callable[[Tensor, Tensor], Tensor]) -> Cotangents:
        u_BD, t_BD = image.embedding_BD, report.embedding_BD
        similarity_B = (u_BD * t_BD).sum(dim=-1)
        slope_B = self._slope(self.contrast.positive, similarity_B)
        codes = [side.code_BK.clone().requires_grad_() for side in (image, report)]
        cosine_B = (normalize(codes[0], dim=-1) * normalize(codes[1], dim=-1)).sum(dim=-1)
        own_B = self.contrast.positive(cosine_B, expected_patients=self.expected_patients)
        value = (self.code_weight * own_B + code_shape(*codes)).sum()
        a_BK, b_BK = (
            gradient * (1 - code.detach().square())
            for code, gradient in zip(codes, torch.autograd.grad(value, codes), strict=True)
        )
        towers_B = slope_B.square() * (image.gram.own_squares(t_BD) + report.gram.own_squares(u_BD))
        head_B = image.head_scale**2 * _rank_two(
            (a_BK.square().sum(dim=-1), (a_BK * b_BK).sum(dim=-1), b_BK.square().sum(dim=-1)),
            (u_BD.square().sum(dim=-1), similarity_B, t_BD.square().sum(dim=-1)),
        )
        error_B = slope_B.abs() * torch.hypot(image.rounding_B, report.rounding_B)
        error_B += image.head_scale * SQUARED_ROUNDING * (a_BK.norm(dim=-1) + b_BK.norm(dim=-1))
        factor_B = _factor(towers_B + head_B, error_B, self.positive_clip)
        pull_B1 = (factor_B * slope_B)[:, None]
        return Cotangents(
            image_BD=pull_B1 * t_BD,
            report_BD=pull_B1 * u_BD,
            image_head_BK=factor_B[:, None] * a_BK,
            report_head_BK=factor_B[:, None] * b_BK,
        )

    def _negatives(self, image: Side, report: Side) -> Cotangents:
        u_BD, t_BD, x_BK, y_BK = image.embedding_BD, report.embedding_BD, image.unit_code_BK, report.unit_code_BK
        total = Cotangents(
            image_BD=torch.zeros_like(u_BD),
            report_BD=torch.zeros_like(t_BD),
            image_head_BK=torch.zeros_like(x_BK),
            report_head_BK=torch.zeros_like(y_BK),
        )
        for rows in _blocks(len(u_BD), self.block_size):
            pull_IB, head_pull_IB = self._clipped_slopes(image, report, rows)
            cosine_IB = x_BK[rows] @ y_BK.T
            twist_IB = head_pull_IB * cosine_IB
            total.image_BD[rows] += pull_IB @ t_BD
            total.report_BD.add_(pull_IB.T @ u_BD[rows])
            total.image_head_BK[rows] += image.code_slope_BK[rows] * (
                head_pull_IB @ y_BK - twist_IB.sum(dim=1)[:, None] * x_BK[rows]
            )
            total.report_head_BK.add_(
                report.code_slope_BK * (head_pull_IB.T @ x_BK[rows] - twist_IB.sum(dim=0)[:, None] * y_BK)
            )
        return total

    def _clipped_slopes(self, image: Side, report: Side, rows: slice) -> tuple[Tensor, Tensor]:
        """Factor times derivative of the negatives in a block of rows, of embeddings and of codes; 0 where i = j."""
        block = image.rows(rows)
        similarity_IB = block.embedding_BD @ report.embedding_BD.T
        cosine_IB = block.unit_code_BK @ report.unit_code_BK.T
        other_IB = torch.ones_like(similarity_IB)
        other_IB.diagonal(rows.start).zero_()
        slope_IB = other_IB * self._slope(self.contrast.negative, similarity_IB)
        code_slope_IB = other_IB * self.code_weight * self._slope(self.contrast.negative, cosine_IB)
        towers_IB = slope_IB.square() * (
            block.gram.all_squares(report.embedding_BD) + report.gram.all_squares(block.embedding_BD).T
        )
        head_IB = (image.head_scale * code_slope_IB).square() * _rank_two(
            _code_products(block, report, cosine_IB),
            (
                block.embedding_BD.square().sum(dim=-1)[:, None],
                similarity_IB,
                report.embedding_BD.square().sum(dim=-1),
            ),
        )
        error_IB = slope_IB.abs() * torch.hypot(block.rounding_B[:, None], report.rounding_B)
        error_IB += (
            image.head_scale
            * SQUARED_ROUNDING
            * code_slope_IB.abs()
            * (block.code_steepness_B[:, None] + report.code_steepness_B)
        )
        factor_IB = _factor(towers_IB + head_IB, error_IB, self.negative_clip)
        return factor_IB * slope_IB, factor_IB * code_slope_IB

    def _slope(self, term: Callable[..., Tensor], similarity: Tensor) -> Tensor:
        at = similarity.detach().requires_grad_()
        value = term(at, expected_patients=self.expected_patients).sum()
        return torch.autograd.grad(value, at)[0]


def _code_products(block: Side, report: Side, cosine_IB: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """|a|^2, a . b and |b|^2 for a = p * (y - cosine x) and b = q * (x - cosine y), with p and q the code slopes.

    Multiplied out, so that matrices of pairs suffice.
    """
    x, y, p, q = block.unit_code_BK, report.unit_code_BK, block.code_slope_BK, report.code_slope_BK
    px, qy = p * x, q * y
    aa = p.square() @ y.square().T - 2 * cosine_IB * ((p * px) @ y.T) + cosine_IB.square() * px.square().sum(1)[:, None]
    bb = x.square() @ q.square().T - 2 * cosine_IB * (x @ (q * qy).T) + cosine_IB.square() * qy.square().sum(1)
    ab = (1 + cosine_IB.square()) * (px @ qy.T) - cosine_IB * (p @ (qy * y).T + (px * x) @ q.T)
    return aa, ab, bb


def _rank_two(outer: tuple[Tensor, Tensor, Tensor], inner: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Squared norm of a u^T + b t^T from the products |a|^2, a . b, |b|^2 and |u|^2, u . t, |t|^2."""
    return outer[0] * inner[0] + 2 * outer[1] * inner[1] + outer[2] * inner[2]


def _factor(square: Tensor, error: Tensor, bound: float) -> Tensor:
    """What brings a gradient of this squared norm, known up to an error of the norm, down to the bound."""
    return (bound / (square.clamp(min=0).sqrt() + error).clamp(min=_TINY)).clamp(max=1.0)


def _blocks(size: int, block_size: int) -> Iterator[slice]:
    return (slice(start, min(start + block_size, size)) for start in range(0, size, block_size))
