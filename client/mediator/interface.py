"""Who turns words into a plan. A proposer is believed in nothing: what it proposes is checked by others."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Protocol

from client.mediator.plan import Plan
from client.policy.site_schema import MediatorLimits
from common.config.registry import Registry


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


class Modelled(Proposer, Protocol):
    """A proposer that asks a language model. Nothing that it does or says raises anything but what `propose` names."""

    @property
    def model_digest(self) -> str:
        """What names the model: of a folder the digest of its files, of an endpoint that of its address and name."""
        ...

    @property
    def guard_digest(self) -> str:
        """SHA-256 of the fixed text that the model is given."""
        ...


PROPOSERS: Registry[Callable[[MediatorLimits, date | None], Proposer]] = Registry(
    "--proposer",
    {
        "lexical": "client.mediator.lexical:lexical",
        "language_model": "client.mediator.language_model:LanguageModel",
        "local_model": "client.mediator.local_model:LocalModel",
    },
)
"""How each is made: from the hospital's settings, for a day that lengths of time count back from (the day of asking
where it is None)."""
