"""How audits name groups and figures, so that a table reads as sentences do."""

from __future__ import annotations

_ATTRIBUTES = {"age_band": "age"}


def group_words(attribute: str, group: str = "") -> str:
    """An attribute, or one of its groups: "race Black", "age 40-59"."""
    return f"{_ATTRIBUTES.get(attribute, attribute)} {group}".strip()


def percent(share: float) -> str:
    """A share as a percentage; a small one with a decimal."""
    return f"{share:.1%}" if 0 < share < 0.1 else f"{share:.0%}"
