"""A release: one thing that leaves a site, the mechanism that made it, and the privacy event it costs.

Everything in a site's reply is a release. What is not one does not leave.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from common.privacy.events import Event


class Mechanism(StrEnum):
    """How a released value was made."""

    PATIENT_DP_SGD = "patient_dp_sgd"
    """Patient-level DP-SGD; costs its event."""
    DISCRETE_LAPLACE = "discrete_laplace"
    """Integers with discrete Laplace noise; costs its event."""
    DISCRETE_GAUSSIAN = "discrete_gaussian"
    """Integers with discrete Gaussian noise, part of it shared with other sites; costs its event."""
    NOT_PRIVATE = "not_private"
    """Computed from patients without noise; only a policy that knows no real patients may let it pass."""
    SEARCH_ANSWER = "search_answer"
    """Handles and rounded distances of studies near a code; without noise, and bounded by who may ask how much."""
    PUBLIC = "public"
    """Says nothing of a patient: a band, a round number."""

    @property
    def costs_privacy(self) -> bool:
        """Whether it has a privacy event, which a ledger must have reserved before the noise was drawn."""
        return self not in (Mechanism.NOT_PRIVATE, Mechanism.SEARCH_ANSWER, Mechanism.PUBLIC)


@dataclass(frozen=True, kw_only=True)
class Release:
    """What the gate is asked to let through.

    Attributes:
        name: The record in the reply that holds the value.
        mechanism: How it was made.
        event: What it costs; None where it costs nothing or cannot be accounted.
        ledger_entry: Digest of the ledger entry that reserved the event before the noise was drawn.
    """

    name: str
    mechanism: Mechanism
    event: Event | None = None
    ledger_entry: str | None = None
