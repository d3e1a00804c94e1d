"""The updates of one round as the rules see them: finite, weighed, and mixed without ever being copied.

A stage before the rule replaces the updates by combinations of them. Only the coefficients are kept: distances of
the mixed points follow from those of the updates, and the combinations themselves are made block by block, in cache,
when a rule reads the values.

Shapes: A all sites that were admitted, S sites with a finite update, T points that the rule sees (S, or fewer after
bucketing), N = S + 1 (the updates, then the origin), E further points, P values, B values of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from common.errors import AggregationError
from strategies.blocks import block_values, map_spans
from strategies.gram import Points, measure

SAMPLED_VALUES = 2**14
"""Values of each update at which a rule that picks values by coordinate counts whose it took."""

ReduceRows = Callable[[Sequence[Tensor], Tensor], None]
"""Takes the points' rows of a block, each `[B]`, and writes one row `[B]`."""


@dataclass(frozen=True)
class Cohort:
    """What a rule works on.

    Attributes:
        updates_SP: Finite updates, float32.
        peaks_S: Largest absolute value of each.
        kept_A: Which of all sites these are.
        mixing_TN: How each point is made of the updates and the origin, float64; each row sums to 1.
        weights_T: Public weight of each point, float64.
        num_byzantine: How many of the points may be anything.
    """

    updates_SP: Tensor
    peaks_S: Tensor
    kept_A: Tensor
    mixing_TN: Tensor
    weights_T: Tensor
    num_byzantine: int

    @classmethod
    def of(cls, updates_AP: Tensor, weights_A: Tensor, *, num_byzantine: int, scales_A: Tensor | None = None) -> Cohort:
        """The cohort of some updates `[A, P]`.

        An update that is not finite is one of the bad ones, so it goes and the number of bad ones falls with it: every
        set of good sites that was possible before is possible after.

        With scales each point is its update times its scale over their mean, and its weight is divided by it, so that a
        weighted mean of the points stays that of the updates.

        Raises:
            AggregationError: There are no updates, or more than `num_byzantine` are not finite.
        """
        peaks_A = _peaks(updates_AP)
        kept_A = peaks_A.isfinite().cpu()
        broken = int((~kept_A).sum())
        if broken > num_byzantine:
            raise AggregationError(
                f"{broken} of {len(kept_A)} admitted updates are not finite, and aggregator.num_byzantine="
                f"{num_byzantine}"
            )
        if not kept_A.any():
            raise AggregationError("no update was admitted")
        weights_S = weights_A.double().cpu()[kept_A]
        scales_S = torch.ones_like(weights_S) if scales_A is None else scales_A.double().cpu()[kept_A]
        scales_S = scales_S / scales_S.mean()
        return cls(
            updates_SP=updates_AP if not broken else updates_AP[kept_A.to(updates_AP.device)],
            peaks_S=peaks_A[kept_A.to(peaks_A.device)],
            kept_A=kept_A,
            mixing_TN=torch.cat([scales_S.diag(), 1 - scales_S[:, None]], dim=1),
            weights_T=weights_S / scales_S,
            num_byzantine=num_byzantine - broken,
        )

    @property
    def num_points(self) -> int:
        """T."""
        return len(self.mixing_TN)

    @cached_property
    def points(self) -> Points:
        """Where the mixed points stand, and the origin after them."""
        return self.points_with()

    def points_with(self, *further_P: Tensor) -> Points:
        """The mixed points, the origin, and further points."""
        measured = measure(self.updates_SP, self.peaks_S, *further_P)
        return measured.mixed(self.mixing_TN)

    def mixed(self, mixing_MT: Tensor) -> Cohort:
        """The cohort of combinations.

        Args:
            mixing_MT: Coefficients of the points; what a row lacks to a sum of 1 is the origin's.
        """
        affine_MN = torch.cat([mixing_MT, 1 - mixing_MT.sum(1, keepdim=True)], dim=1)
        share_MT = mixing_MT / mixing_MT.sum(1, keepdim=True)
        mixed = replace(self, mixing_TN=affine_MN @ self._with_origin(), weights_T=share_MT @ self.weights_T)
        vars(mixed)["points"] = self.points.mixed(affine_MN)  # known without a second pass over the values
        return mixed

    def weighted_sum(self, weights_T: Tensor, *, onto_P: Tensor | None = None) -> Tensor:
        """The combination `[P]` of the points with some weights.

        Args:
            weights_T: Weights.
            onto_P: What it is added to, in place; None is zero.
        """
        weights_S = (weights_T @ self.mixing_TN[:, :-1]).to(self.updates_SP)
        update_P = torch.zeros_like(self.updates_SP[0]) if onto_P is None else onto_P

        def of_span(blocks: Iterator[slice]) -> None:
            for block in blocks:
                update_P[block].addmv_(self.updates_SP[:, block].T, weights_S)

        map_spans(len(update_P), of_span, block=block_values(update_P.device), device=update_P.device)
        return update_P

    def by_coordinate(self, reducer: Callable[[], ReduceRows]) -> Tensor:
        """One value `[P]` of the points' values at each coordinate.

        Args:
            reducer: Makes what reduces the rows of a block; once for each worker's span, so that it may own memory.
        """
        update_P = torch.empty_like(self.updates_SP[0])
        mixing_TS = self._mixing_of_updates()
        most = block_values(update_P.device)

        def of_span(blocks: Iterator[slice]) -> None:
            reduce = reducer()
            memory = self.updates_SP.new_empty(0 if mixing_TS is None else len(mixing_TS) * most)
            for block in blocks:
                rows_TB = self.updates_SP[:, block]
                if mixing_TS is not None:
                    size = block.stop - block.start
                    out = memory[: len(mixing_TS) * size].view(len(mixing_TS), size)
                    rows_TB = torch.mm(mixing_TS, rows_TB, out=out)
                reduce(list(rows_TB), update_P[block])

        map_spans(len(update_P), of_span, block=block_values(update_P.device), device=update_P.device)
        return update_P

    def sampled_rows(self) -> Tensor:
        """The points' values `[T, B]` at an even sample of the coordinates; at all of them where they are few."""
        stride = max(1, self.updates_SP.shape[1] // SAMPLED_VALUES)
        sample_SB = self.updates_SP[:, ::stride]
        mixing_TS = self._mixing_of_updates()
        return sample_SB if mixing_TS is None else mixing_TS @ sample_SB

    def site_weights(self, weights_T: Tensor) -> Tensor:
        """Share `[A]`, float32, of every admitted site in a combination of the points; sums to 1."""
        weights_S = weights_T @ self.mixing_TN[:, :-1]
        found_A = torch.zeros(len(self.kept_A), dtype=torch.float64)
        found_A[self.kept_A] = weights_S / weights_S.sum()
        return found_A.float()

    def _with_origin(self) -> Tensor:
        """The mixing of the points and, after them, the origin, which stays what it is."""
        origin_1N = torch.zeros(1, self.mixing_TN.shape[1], dtype=torch.float64)
        origin_1N[0, -1] = 1
        return torch.cat([self.mixing_TN, origin_1N])

    def _mixing_of_updates(self) -> Tensor | None:
        """Coefficients `[T, S]` of the updates; None where the points are the updates."""
        mixing_TS = self.mixing_TN[:, :-1]
        if mixing_TS.shape[0] == mixing_TS.shape[1] and torch.equal(mixing_TS, torch.eye(len(mixing_TS)).double()):
            return None
        return mixing_TS.to(self.updates_SP)


def _peaks(updates_AP: Tensor) -> Tensor:
    """Largest absolute value of each update; not finite where one of its values is not."""
    num_sites, num_values = updates_AP.shape

    def of_span(blocks: Iterator[slice]) -> Tensor:
        # NaN is greater than everything to both, and so comes through.
        parts = [torch.maximum(updates_AP[:, block].amax(1), -updates_AP[:, block].amin(1)) for block in blocks]
        return torch.stack(parts).amax(0)

    found = map_spans(num_values, of_span, block=block_values(updates_AP.device), device=updates_AP.device)
    return torch.stack(found).amax(0) if found else updates_AP.new_zeros(num_sites)
