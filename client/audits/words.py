"""How audits name groups and figures, so that a table reads as sentences do."""

from __future__ import annotations

from client.audits.interface import Finding

_ATTRIBUTES = {"age_band": "age"}


def group_words(attribute: str, group: str = "") -> str:
    """An attribute, or one of its groups: "race Black", "age 40-59"."""
    return f"{_ATTRIBUTES.get(attribute, attribute)} {group}".strip()


def percent(share: float) -> str:
    """A share as a percentage; a small one with a decimal."""
    return f"{share:.1%}" if 0 < share < 0.1 else f"{share:.0%}"


def figure(finding: Finding) -> str:
    """The figure with its interval, or nothing where it cannot be told."""
    if finding.estimate is None:
        return ""
    ends = "" if finding.low is None else f" ({finding.low:+.3f} to {finding.high:+.3f})"
    return f"{finding.estimate:+.3f}{ends}" if ends else f"{finding.estimate:.2f}"


def p_value(finding: Finding) -> str:
    """The corrected p-value, or nothing where there was no test."""
    return "" if finding.p_value is None else f"{finding.p_value:.3f}"


def headline(num_found: int) -> str:
    """How many findings there are, in words."""
    if not num_found:
        return "No audit found anything"
    return "1 finding to look at" if num_found == 1 else f"{num_found} findings to look at"
