"""The queries with their right plans (`queries.md` says how they came about)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from importlib import resources
from typing import Any

SPLITS = ("develop", "held")
ASKED_ON = date(2026, 1, 15)
"""The day that "the last six months" of a query count back from."""


@dataclass(frozen=True, kw_only=True)
class RightPlan:
    """A query, and what should become of it.

    Attributes:
        query_id: Its name.
        split: One of `SPLITS`.
        kind: What is hard about it.
        query: The words.
        concepts: Wanted, excluded and anatomy: in which list, and scheme and code with a colon between.
        sides: The side of each of them that has one.
        uncertain: Those that the words doubt.
        past: Those that are history.
        circumstances: Modality, sex, age and dates, as they are written in the file.
        ask_back: Meanings to be asked back, each a set of codes.
        acronyms: Each acronym with what it means; None where it is to be asked back.
    """

    query_id: str
    split: str
    kind: str
    query: str
    concepts: frozenset[tuple[str, str]]
    sides: Mapping[str, str]
    uncertain: frozenset[str]
    past: frozenset[str]
    circumstances: Mapping[str, Any]
    ask_back: frozenset[frozenset[str]]
    acronyms: tuple[tuple[str, str | None], ...]


def right_plans() -> tuple[RightPlan, ...]:
    """All of them, in the file's order."""
    text = (resources.files("simulations.mediation") / "queries.jsonl").read_text(encoding="utf-8")
    return tuple(_right_plan(json.loads(line)) for line in text.splitlines())


def _right_plan(row: Mapping[str, Any]) -> RightPlan:
    plan = row["plan"]
    asked = [*plan["wanted"], *plan["anatomy"]]
    return RightPlan(
        query_id=row["id"],
        split=row["split"],
        kind=row["kind"],
        query=row["query"],
        concepts=frozenset((part, one["code"]) for part in ("wanted", "excluded", "anatomy") for one in plan[part]),
        sides={one["code"]: one["laterality"] for one in asked if "laterality" in one},
        uncertain=frozenset(one["code"] for one in plan["wanted"] if one.get("uncertain")),
        past=frozenset(one["code"] for one in plan["wanted"] if one.get("history")),
        circumstances={name: plan[name] for name in ("modality", "sex", "age", "dates")},
        ask_back=frozenset(frozenset(choices) for choices in plan["ask_back"]),
        acronyms=tuple((one["acronym"], one["code"]) for one in row["acronyms"]),
    )
