"""How sure the hits of one search are, and what is said where nobody can tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from common.retrieval.relevance import Curve, QueryKind, Relevance, Sure

BLIND = "Among public studies even the nearest hits were not surely likelier than a study drawn blindly."


@dataclass(frozen=True, kw_only=True)
class HowSure:
    """How sure a hit of one search is.

    Attributes:
        curve: What public studies tell of such searches; None where they tell nothing.
        why: Why nobody can tell, in words; "" where it can be told, or where the model is of an older wardround.
    """

    curve: Curve | None = None
    why: str = ""

    @classmethod
    def of(cls, relevance: Relevance | None, *, query: QueryKind, gallery: str, bit_width: int) -> HowSure:
        """How sure the hits of a kind of search are.

        Args:
            relevance: As the model's folder says; None where it says nothing.
            query: What the query is made of.
            gallery: What it is compared with, `images` or `reports`.
            bit_width: Bits of the codes.
        """
        if relevance is None:
            return cls()
        curve = relevance.curve(query=query, gallery=gallery, bit_width=bit_width)
        if curve is None:
            return cls(why=relevance.why or f"codes of {bit_width} bits were not measured")
        return cls(curve=curve, why=curve.why)

    @property
    def tells(self) -> bool:
        """Whether there is a probability for some hit."""
        return self.curve is not None and bool(self.curve.steps)

    @property
    def note(self) -> str:
        """What a list of hits says below, in a sentence; "" where the model says nothing."""
        if self.curve is None or not self.tells:
            return self.caution
        blind = f" {BLIND}" if self.curve.is_blind else ""
        return (
            f"Relevant: as {self.curve.num_pairs:,} public pairs tell, of which {100 * self.curve.base_rate:.1f}% are "
            f"relevant where they are drawn blindly; what relevant means stands in the model's MODEL_CARD.md.{blind}"
        )

    @property
    def caution(self) -> str:
        """What is to be known before any probability is read; "" where there is nothing."""
        if self.why:
            return f"How sure a hit is cannot be told: {self.why}."
        return BLIND if self.curve is not None and self.curve.is_blind else ""

    @property
    def blindly(self) -> str:
        """What share is relevant of studies drawn blindly; "" where nobody can tell."""
        return "" if self.curve is None else f"{100 * self.curve.base_rate:.0f}%"

    def of_own(self, distance: int) -> Sure | None:
        """How sure a study at a distance is that is known to the bit; None where nobody can tell."""
        return None if self.curve is None else self.curve.of(distance)

    def of_other(self, distance: int) -> Sure | None:
        """How sure a study of another hospital is, which rounds its distances up; None where nobody can tell."""
        return None if self.curve is None else self.curve.of(distance, rounded_up=True)


def as_json(sure: Sure | None) -> dict[str, Any] | None:
    """How sure a hit is as a JSON object; null where nobody can tell."""
    return None if sure is None else sure.as_json()


def in_short(sure: Sure | None) -> str:
    """How sure a hit is, for a cell of a table."""
    return "cannot tell" if sure is None else sure.in_short
