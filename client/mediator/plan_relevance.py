"""A file of how sure a rank by plan makes an own hit, as public studies tell it: bound to one model and its rules.

`wardround mediator calibrate` writes it, and a hospital names it in site.yaml (`mediator.relevance`). It lies beside
the model's folder, not in it: that folder is what a run left and whoever ran it signed, and may be checked to hold
nothing else; this may be made later, by somebody else, with other public studies.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client.mediator.rules_digest import rules_digest
from common.canonical import canonical_json, digest
from common.errors import ConfigError, TrustError
from common.files import write_atomically
from common.retrieval.relevance import QueryKind, Relevance
from common.search.how_sure import HowSure

_MOST_BYTES = 1 << 20
_REMEDY = "make it again with wardround mediator calibrate, or take mediator.relevance out of site.yaml"


@dataclass(frozen=True, kw_only=True)
class PlanRelevance:
    """What public studies tell of ranks by plan.

    Attributes:
        rules: Digest of the rules that made the ranks.
        relevance: The curves, of `QueryKind.PLAN` alone, and the digest of the model that made the codes.
    """

    rules: str
    relevance: Relevance

    @property
    def digest(self) -> str:
        """Names it in the record of a query."""
        return digest(self.as_json())

    def as_json(self) -> dict[str, Any]:
        """A plain JSON object."""
        return {"rules": self.rules, "relevance": self.relevance.as_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PlanRelevance:
        """The inverse of `as_json`.

        Raises:
            ValueError, TypeError, KeyError, AttributeError: It is no such object.
        """
        relevance = Relevance.from_json(value["relevance"])
        if any(curve.query is not QueryKind.PLAN for curve in relevance.curves):
            raise ValueError("a curve of another kind")
        return cls(rules=value["rules"], relevance=relevance)

    def how_sure(self, *, gallery: str, bit_width: int) -> HowSure:
        """How sure the hits of one search are, by their rank."""
        return HowSure.of(self.relevance, query=QueryKind.PLAN, gallery=gallery, bit_width=bit_width)


def write_plan_relevance(path: Path, found: PlanRelevance) -> None:
    """Write it, whole or not at all.

    Raises:
        OSError: The disk refuses it.
    """
    write_atomically(path, canonical_json(found.as_json()))


def read_plan_relevance(file: str, *, model: str) -> PlanRelevance | None:
    """What a hospital's file says; None where it names none.

    Args:
        file: As `mediator.relevance` names it.
        model: Digest of the model that is searched with.

    Raises:
        ConfigError: There is no such file.
        TrustError: It is damaged, or of another model or other rules.
    """
    if not file:
        return None
    path = Path(file)
    try:
        with path.open("rb") as opened:
            content = opened.read(_MOST_BYTES + 1)
        found = PlanRelevance.from_json(json.loads(content[:_MOST_BYTES]))
        is_whole = canonical_json(found.as_json()) == content
    except OSError as error:
        raise ConfigError(f"mediator.relevance: {path}: cannot be read ({error.strerror}); {_REMEDY}") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise TrustError(f"{path}: is damaged, or of another wardround; {_REMEDY}") from error
    if not is_whole:
        raise TrustError(f"{path}: is not written as it is made; {_REMEDY}")
    if found.relevance.model != model:
        raise TrustError(
            f"{path}: is of model {found.relevance.model[:12]}, and the search is by {model[:12]}; {_REMEDY}"
        )
    if found.rules != rules_digest():
        raise TrustError(f"{path}: was made with other terms or weights than those installed here; {_REMEDY}")
    return found
