"""Who turns words into a plan. A proposer is believed in nothing: what it proposes is checked by others."""

from __future__ import annotations

from typing import Protocol

from client.mediator.plan import Plan


class Proposer(Protocol):
    """One way from words to a plan."""

    @property
    def name(self) -> str:
        """What logs and reports call it."""
        ...

    def propose(self, query: str) -> Plan:
        """A plan for a clinician's words.

        Args:
            query: The words, in the form that the plan's spans count characters of.

        Raises:
            PlanError: There is none: the words are too long, or what answered is no plan.
        """
        ...
