"""Codes by linear maps: CCA-ITQ and random projections.

ITQ (Gong, Lazebnik, Gordo, Perronnin, TPAMI 2013) turns a space so that its signs lose least: with B the signs and R
orthogonal, B = sgn(V R) and R from the singular vectors of B^T V, in turn. For two modalities V is their common space
by canonical correlation, each direction weighted by its correlation.

Random projections (Charikar, STOC 2002): the signs of random directions keep angles.

Shapes: N pairs, F features, D dimensions, K bits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from simulations.benchmarks.code_peers.interface import Pairs, ToCode, standardised

ROUNDS = 50
REGULARISATION = 0.1
"""Added to each standardised feature's variance, so that few pairs do not make up correlations."""


def fit_cca_itq(pairs: Pairs, bit_width: int, generator: torch.Generator) -> tuple[ToCode, ToCode]:
    """CCA-ITQ; see `Fit`.

    The paper needs at least K dimensions. Where the features have fewer, R is a tight frame of K directions
    (orthonormal rows), which the same alternation turns.
    """
    seen, image_standard, report_standard = standardised(pairs)
    image_FD, report_FD = canonical_directions(seen, num_directions=bit_width)
    common_ND = torch.cat([seen.images @ image_FD, seen.reports @ report_FD])
    turn_DK = rotated_to_signs(common_ND, bit_width, generator=generator)
    return (
        lambda features: image_standard(features) @ image_FD @ turn_DK,
        lambda features: report_standard(features) @ report_FD @ turn_DK,
    )


def canonical_directions(pairs: Pairs, *, num_directions: int) -> tuple[Tensor, Tensor]:
    """Directions `[F, D]` of each modality, of falling correlation, scaled by it; D is at most what both offer."""
    count = len(pairs.images)
    inverse_image, inverse_report = (_inverse_root(x.T @ x / count) for x in pairs)
    left, correlation, right_t = torch.linalg.svd(
        inverse_image @ (pairs.images.T @ pairs.reports / count) @ inverse_report, full_matrices=False
    )
    kept = min(num_directions, len(correlation))
    scale_D = correlation[:kept]
    return inverse_image @ left[:, :kept] * scale_D, inverse_report @ right_t[:kept].T * scale_D


def rotated_to_signs(space_ND: Tensor, bit_width: int, *, generator: torch.Generator) -> Tensor:
    """R `[D, K]` of ITQ, from a random start."""
    dimensions = space_ND.shape[1]
    start = torch.randn(max(dimensions, bit_width), max(dimensions, bit_width), generator=generator)
    turn_DK = torch.linalg.qr(start)[0][:dimensions, :bit_width]
    for _ in range(ROUNDS):
        signs_NK = torch.where(space_ND @ turn_DK >= 0, 1.0, -1.0)
        left, _, right_t = torch.linalg.svd(space_ND.T @ signs_NK, full_matrices=False)
        turn_DK = left @ right_t
    turned: Tensor = turn_DK
    return turned


def random_projection(dimensions: int, bit_width: int, *, generator: torch.Generator) -> ToCode:
    """The signs of K random directions of a space that both modalities share."""
    direction_DK = torch.randn(dimensions, bit_width, generator=generator)
    return lambda embedding_ND: embedding_ND @ direction_DK


def _inverse_root(covariance_FF: Tensor) -> Tensor:
    value_F, vector_FF = torch.linalg.eigh(covariance_FF + REGULARISATION * torch.eye(len(covariance_FF)))
    root_FF: Tensor = vector_FF * value_F.rsqrt() @ vector_FF.T
    return root_FF
