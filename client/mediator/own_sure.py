"""How sure the own hits of a search are: by their rank under the plan where public studies tell that, else by distance.

Both are told of the same hit by different things; one list speaks by one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from client.mediator.plan_relevance import PlanRelevance
from client.mediator.rerank import Held
from client.search.index import Hit
from common.retrieval.relevance import Sure
from common.search.how_sure import HowSure, as_json


@dataclass(frozen=True, kw_only=True)
class HitSure:
    """How sure one own hit is.

    Attributes:
        sure: Its probability; None where nobody can tell.
        in_set: Whether it is in the 90% set; None where nobody can tell, or the probability is by distance.
        rank: Its rank by the plan, in bits; None where it was held against none.
    """

    sure: Sure | None = None
    in_set: bool | None = None
    rank: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Fields of a hit."""
        return {"relevance": as_json(self.sure), "in_90_set": self.in_set, "rank": self.rank}


@dataclass(frozen=True, kw_only=True)
class OwnSure:
    """How sure the own hits of a search are.

    Attributes:
        held: The hits, held against the plan where it has a rule.
        how_sure: What is told of such searches.
        source: Digest of the file that tells it by rank; "" where it is told by distance.
    """

    held: Held
    how_sure: HowSure
    source: str = ""

    @classmethod
    def of(
        cls, held: Held, by_distance: HowSure, by_plan: PlanRelevance | None, *, gallery: str, bit_width: int
    ) -> OwnSure:
        """How sure some hits are.

        Args:
            held: The hits, held against the plan where it has a rule.
            by_distance: What the model's folder tells.
            by_plan: What the hospital's file tells; None where it names none.
            gallery: What of the studies was compared.
            bit_width: Bits of the codes.
        """
        if by_plan is None or not held.ranks:
            return cls(held=held, how_sure=by_distance)
        how_sure = by_plan.how_sure(gallery=gallery, bit_width=bit_width)
        return cls(held=held, how_sure=how_sure, source=by_plan.digest)

    @property
    def is_by_plan(self) -> bool:
        """Whether it is told by rank."""
        return bool(self.source)

    def of_hit(self, hit: Hit) -> HitSure:
        """How sure a hit is; of one whose report was not read, nobody can tell by rank."""
        rank, curve = self.held.ranks.get(hit.handle), self.how_sure.curve
        if not self.is_by_plan:
            return HitSure(sure=self.how_sure.of_own(hit.distance), rank=rank)
        if rank is None or curve is None or not curve.steps:
            return HitSure(rank=rank)
        return HitSure(sure=curve.of(rank), in_set=curve.holds(rank), rank=rank)

    @property
    def note(self) -> str:
        """What is said of the own hits, in a sentence; "" where they are told as all others are."""
        curve = self.how_sure.curve
        if not self.is_by_plan:
            return ""
        if curve is None or not curve.steps:
            return self.how_sure.caution
        of_set = " The 90% set holds nine of ten relevant ones among such hits." if curve.has_set else ""
        return f"Relevant by the plan: as {curve.num_pairs:,} hits tell that searches of public studies show.{of_set}"
