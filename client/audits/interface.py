"""What an audit says: findings in plain words, each with its figure, its interval and how sure it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

ALPHA = 0.05
"""Probability that an audit of studies without bias finds any, over all of its tests together."""


class Verdict(StrEnum):
    """What a test came to."""

    FOUND = "found"
    EXPECTED = "expected"
    """It is there, and it would be without any bias: anatomy and disease follow sex and age."""

    NOT_FOUND = "not found"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One answer of an audit.

    Attributes:
        subject: What it is of, such as "race Black" or "scanner, by image".
        sentence: The answer in plain words.
        verdict: What the test came to.
        measure: What `estimate` is.
        estimate: The figure; None where it cannot be told.
        low: Lower end of its 95 % interval, or None where it has none.
        high: Upper end.
        p_value: Of the test, corrected for all tests of the audit; None where it cannot be told.
    """

    subject: str
    sentence: str
    verdict: Verdict
    measure: str
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None


@dataclass(frozen=True, kw_only=True)
class Audited:
    """What one audit found.

    Attributes:
        name: The audit's.
        question: What it asks.
        findings: Its answers.
        figure: Points of its plot by name, as `forest` or as `label`, `detectability`, `utility` and `found`.
    """

    name: str
    question: str
    findings: tuple[Finding, ...]
    figure: Mapping[str, Any]

    @property
    def found(self) -> tuple[Finding, ...]:
        """The findings that are there."""
        return tuple(finding for finding in self.findings if finding.verdict is Verdict.FOUND)

    def as_json(self) -> dict[str, Any]:
        """As a JSON object; exact, and the hospital's own."""
        return {
            "name": self.name,
            "question": self.question,
            "found": len(self.found),
            "findings": [asdict(finding) for finding in self.findings],
        }


def forest(findings: Sequence[Finding]) -> dict[str, Any]:
    """The findings that have an interval, as rows of points and lines."""
    rows = [finding for finding in findings if finding.low is not None]
    return {
        "label": [row.subject for row in rows],
        "value": [row.estimate for row in rows],
        "low": [row.low for row in rows],
        "high": [row.high for row in rows],
        "found": [row.verdict is Verdict.FOUND for row in rows],
    }
