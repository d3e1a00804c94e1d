"""Own hits in the order in which they answer a plan: by distance, corrected by what their reports say of it.

The correction is in bits, so that one rule counts beside another and beside the code in one measure: each part that a
study fits brings it nearer, each that it contradicts takes it away. A silent report moves nothing. Hits of other
hospitals are not touched: nothing is known of them but their distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from client.mediator.plan import Plan
from client.mediator.validate import Validated, Verdict

FITTING = 0.06
"""Share of the code's bits by which a part that fits brings a study nearer."""

CONTRADICTING = 0.12
"""Share of the code's bits by which a part that is contradicted takes it away; chosen with `FITTING` before the last
test (ADR 0059)."""

WIDER = 3
"""How many times as many hits are looked at as are wanted."""

T = TypeVar("T")


def has_rules(plan: Plan | None) -> bool:
    """Whether there is anything in a plan that a study can be held against."""
    return plan is not None and bool(
        plan.wanted or plan.excluded or plan.anatomy or plan.modality or plan.sex or plan.age or plan.dates
    )


def rank_of(distance: int, validated: Validated | None, *, bit_width: int) -> float:
    """Where a study stands, in bits; the smaller the earlier.

    Args:
        distance: Of its code from the query's, in bits.
        validated: What the rules say of it; None where its report cannot be read.
        bit_width: Bits of the codes.
    """
    if validated is None:
        return float(distance)
    nearer = FITTING * validated.weight(Verdict.FITS)
    farther = CONTRADICTING * validated.weight(Verdict.CONTRADICTS)
    return distance + bit_width * (farther - nearer)


def reranked(
    hits: Sequence[T], distances: Sequence[int], validated: Sequence[Validated | None], *, bit_width: int
) -> list[T]:
    """Hits in their new order; those that stand alike keep the order that they have."""
    ranks = [rank_of(distance, one, bit_width=bit_width) for distance, one in zip(distances, validated, strict=True)]
    return [hits[at] for at in sorted(range(len(hits)), key=lambda at: ranks[at])]
