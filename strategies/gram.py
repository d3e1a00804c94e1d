"""Where the updates of a round stand to each other: all inner products, from one pass over the values.

Most robust rules ask only for distances and norms and answer with one weight a site. Those follow from the S x S
inner products, whatever the number of values. Taken about zero they would be useless where the updates share a large
offset: the squares cancel. So they are taken about a *centre*, one of the updates, that lies among the majority.
Products of a block are float32, their sum over the blocks float64.

The origin is a point like the others: a rule that looks at norms asks how far an update is from it.

Shapes: S sites, N = S + 1 points (the updates, then the origin), E further points, B values of a block, P values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from strategies.blocks import block_values, map_spans

SAMPLED_VALUES = 4096
"""Values of each update from which the first centre is guessed."""

FAR = 16.0
"""How far a centre may be from the middle of the majority, squared, over the majority's own squared distances.

Cancellation then costs at most this factor of float32's relative error."""

SQUARES_HOLD = (1e-12, 1e12)
"""Largest values of an update whose squares neither vanish nor overflow in a float32 sum over a block."""


@dataclass(frozen=True)
class Points:
    """The points of a round.

    Attributes:
        gram_NN: Inner products about a centre, float64, on the CPU.
        num_updates: T: how many of the points are updates; the origin follows them, then the further points.
    """

    gram_NN: Tensor
    num_updates: int

    @property
    def distances_NN(self) -> Tensor:
        """Squared distances between all points."""
        norms_N = self.gram_NN.diagonal()
        # Both halves of the products, so that a distance is the same from either end, to the last bit.
        products_NN = self.gram_NN + self.gram_NN.T
        found_NN = (norms_N[:, None] + norms_N[None, :] - products_NN).clamp(min=0)
        return found_NN.fill_diagonal_(0)

    @property
    def between_updates(self) -> Tensor:
        """Squared distances `[T, T]` between the updates."""
        return self.distances_NN[: self.num_updates, : self.num_updates]

    @property
    def squared_norms(self) -> Tensor:
        """Squared norms `[T]` of the updates: their distances from the origin."""
        return self.distances_NN[: self.num_updates, self.num_updates]

    def mixed(self, mixing_TU: Tensor) -> Points:
        """The points that affine combinations make; the origin and the further points stay.

        Args:
            mixing_TU: Coefficients of the updates and of the origin; each row sums to 1.
        """
        num_kept = len(self.gram_NN) - self.num_updates
        mixing_MN = torch.zeros(len(mixing_TU) + num_kept, len(self.gram_NN), dtype=torch.float64)
        mixing_MN[: len(mixing_TU), : self.num_updates + 1] = mixing_TU
        mixing_MN[len(mixing_TU) :, self.num_updates :] = torch.eye(num_kept)
        return Points(mixing_MN @ self.gram_NN @ mixing_MN.T, len(mixing_TU))


def majority_distance(distances_SS: Tensor) -> Tensor:
    """Squared distance of each update to the farthest of its S // 2 nearest others."""
    return distances_SS.sort(dim=1).values[:, len(distances_SS) // 2]


def measure(updates_SP: Tensor, peaks_S: Tensor, *further_P: Tensor) -> Points:
    """All inner products of the updates, the origin and further points, in this order.

    Args:
        updates_SP: Finite updates, float32, at least one.
        peaks_S: Largest absolute value of each.
        further_P: Points beside the updates; they never become the centre.
    """
    num_sites = len(updates_SP)
    centre = _guess(updates_SP)
    for _ in range(num_sites):
        points = _pass(updates_SP, peaks_S, further_P, centre)
        reach_S = majority_distance(points.between_updates)
        best = int(reach_S.argmin())
        if points.gram_NN[best, best] <= FAR * reach_S[best] or best == centre:
            break
        centre = best
    return points


def _guess(updates_SP: Tensor) -> int:
    """The update nearest to the majority, as an even sample of the values sees it."""
    stride = max(1, updates_SP.shape[1] // SAMPLED_VALUES)
    sample_SB = updates_SP[:, ::stride].double().cpu()
    return int(majority_distance(_square_distances(sample_SB)).argmin())


def _pass(updates_SP: Tensor, peaks_S: Tensor, further_P: tuple[Tensor, ...], centre: int) -> Points:
    num_sites, num_values = updates_SP.shape
    num_rows = num_sites + len(further_P)
    scales_R = _scales(peaks_S, further_P, centre)
    # Half a block: the library that multiplies packs a copy of it.
    most = max(1, block_values(updates_SP.device) // 2)

    def of_span(blocks: Iterator[slice]) -> Tensor:
        memory = torch.empty(num_rows * most, dtype=updates_SP.dtype, device=updates_SP.device)
        total_RR = torch.zeros(num_rows, num_rows, dtype=torch.float64)
        for block in blocks:
            size = block.stop - block.start
            rows_RB = memory[: num_rows * size].view(num_rows, size)
            centre_B = updates_SP[centre, block]
            torch.sub(updates_SP[:, block], centre_B, out=rows_RB[:num_sites])
            # About itself the centre is nothing: its row stands for the origin.
            torch.neg(centre_B, out=rows_RB[centre])
            for row, point_P in enumerate(further_P, start=num_sites):
                torch.sub(point_P[block], centre_B, out=rows_RB[row])
            if scales_R is not None:
                rows_RB *= scales_R[:, None]
            total_RR += (rows_RB @ rows_RB.T).double().cpu()
        return total_RR

    found_RR = torch.stack(map_spans(num_values, of_span, block=most, device=updates_SP.device)).sum(0)
    if scales_R is not None:
        exact_R = scales_R.double().cpu()
        found_RR /= torch.outer(exact_R, exact_R)
    return Points(_with_centre(found_RR, num_sites, centre), num_sites)


def _with_centre(found_RR: Tensor, num_sites: int, centre: int) -> Tensor:
    """Products of the updates, the origin and the further points; the centre's own are zero."""
    row_of = [*range(num_sites), centre, *range(num_sites, len(found_RR))]
    gram_NN = ((found_RR + found_RR.T) / 2)[row_of][:, row_of]
    gram_NN[centre] = gram_NN[:, centre] = 0
    return gram_NN


def _scales(peaks_S: Tensor, further_P: tuple[Tensor, ...], centre: int) -> Tensor | None:
    """Powers of two that bring each row near 1, where a square could vanish or overflow; else None."""
    peaks_R = torch.cat(
        [peaks_S, *(torch.maximum(point_P.amax(), -point_P.amin())[None].to(peaks_S) for point_P in further_P)]
    )
    least, most = SQUARES_HOLD
    if ((peaks_R >= least) & (peaks_R <= most) | (peaks_R == 0)).all():
        return None
    reach_R = peaks_R.double() + peaks_R[centre].double()
    return torch.where(reach_R > 0, torch.exp2(-reach_R.log2().ceil()), 1.0).to(peaks_S.dtype)


def _square_distances(sample_SB: Tensor) -> Tensor:
    """Between all rows, by differences."""
    return torch.stack([(sample_SB - row_B).square().sum(1) for row_B in sample_SB])
