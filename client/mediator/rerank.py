"""Own hits in the order in which they answer a plan: by distance, corrected by what their reports say of it.

The correction is in bits, so that one rule counts beside another and beside the code in one measure (`validate.py`):
each part that is sought and not named takes a study away, each that is contradicted takes it further. Hits of other
hospitals are not touched: nothing is known of them but their distance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from client.mediator.plan import Plan
from client.mediator.validate import Judged, ReadStudy, seeks, unread, validate
from client.search.index import Hit
from common.types import StudyRecord

WIDER = 3
"""How many times as many hits are looked at as are wanted."""

MOST_JUDGED = 60
"""Hits whose reports are read; the rest keep their distance."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """Own hits that were held against a plan.

    Attributes:
        hits: In the order in which they answer it.
        judged: What its rules say of each, by handle; empty where nothing was held against anything.
        ranks: Where each of these stands, in whole bits, where something is sought; who stands earlier is not less
            likely relevant, for how sure a hit is falls with the rank.
    """

    hits: tuple[Hit, ...]
    judged: Mapping[str, tuple[Judged, ...]] = field(default_factory=dict)
    ranks: Mapping[str, int] = field(default_factory=dict)


def num_looked_at(plan: Plan | None, k: int) -> int:
    """How many hits are looked at where k are wanted."""
    return max(k, min(WIDER * k, MOST_JUDGED)) if plan is not None and has_rules(plan) else k


def has_rules(plan: Plan) -> bool:
    """Whether there is anything in a plan that a study can be held against."""
    return bool(plan.wanted or plan.excluded or plan.anatomy or plan.modality or plan.sex or plan.age or plan.dates)


def rank_of(distance: int, away: float, *, bit_width: int) -> float:
    """Where a study stands, in bits; the smaller the earlier.

    Args:
        distance: Of its code from the query's, in bits.
        away: Share of the bits by which the rules take it away.
        bit_width: Bits of the codes.
    """
    return distance + bit_width * away


def held_against(
    plan: Plan | None, hits: Sequence[Hit], records: Mapping[str, StudyRecord], *, k: int, bit_width: int
) -> Held:
    """Own hits in the order in which they answer a plan, no more than are wanted, and whoever ties with the last.

    Args:
        plan: What is looked for; without one, or without a rule in it, the hits stay as they are.
        hits: The nearest first; more than are wanted, for a farther one may answer better (`WIDER`).
        records: What is known of their studies, by handle; of one that cannot be read nothing is.
        k: How many are wanted.
        bit_width: Bits of the codes.
    """
    if plan is None or not has_rules(plan):
        return Held(hits=tuple(hits))
    judged = {handle: validate(plan, ReadStudy.of(record)) for handle, record in records.items()}
    away = {handle: one.away for handle, one in judged.items()}
    ranks = {hit.handle: rank_of(hit.distance, away.get(hit.handle, unread(plan)), bit_width=bit_width) for hit in hits}
    in_order = sorted(hits, key=lambda hit: ranks[hit.handle])
    last = ranks[in_order[k - 1].handle] if len(in_order) > k else math.inf
    return Held(
        hits=tuple(hit for hit in in_order if ranks[hit.handle] <= last),
        judged={handle: one.judged for handle, one in judged.items()},
        ranks={handle: round(rank) for handle, rank in ranks.items() if handle in judged and seeks(plan)},
    )
