"""What a language model is given, and what is taken of its answer: the same for an endpoint and for a folder.

It is given the fixed text of `guard.md`, and one JSON object that holds the words as data, the day, and the concepts
that it may use: those that the words name, and narrower ones. It is held to the grammar of plans, with those codes as
the only ones. What comes back is read as a plan and as nothing else. Where its parts stand in the words is found anew,
for a model cannot count characters; a part that stands nowhere keeps what it claimed, and verification refuses it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from functools import cache
from importlib import resources
from typing import Any

from client.mediator.coverage import left_over
from client.mediator.grounds import Grounds
from client.mediator.plan import Asked, Plan, Span, why_of
from client.mediator.plan_json import plan_schema, read_plan
from common.files import sha256_hex
from common.terminology.coded import Coded
from common.terminology.concepts import concepts

MOST_CANDIDATES = 64
"""Concepts that a model may choose from; those that the words name come first."""


@cache
def guard() -> str:
    """The fixed text."""
    return (resources.files("client.mediator") / "guard.md").read_text(encoding="utf-8")


@cache
def guard_digest() -> str:
    """SHA-256 of the fixed text."""
    return sha256_hex(guard().encode())


def messages(grounds: Grounds, *, today: date) -> list[dict[str, str]]:
    """What the model reads, as a chat: the fixed text, and the words as data."""
    given = {
        "words": grounds.words,
        "today": today.isoformat(),
        "concepts": [vars(one) for one in candidates(grounds)],
    }
    return [{"role": "system", "content": guard()}, {"role": "user", "content": json.dumps(given, ensure_ascii=False)}]


def schema(grounds: Grounds) -> dict[str, Any]:
    """The grammar of plans, with the concepts that the words give as the only ones."""
    held = plan_schema()
    allowed = candidates(grounds)
    if allowed:
        for name in ("scheme", "code", "meaning"):
            values = list(dict.fromkeys(getattr(one, name) for one in allowed))
            held["$defs"]["coded"]["properties"][name] = {"type": "string", "enum": values}
    return held


def candidates(grounds: Grounds) -> tuple[Coded, ...]:
    """The concepts that words name, and then those that are narrower than one of them."""
    named = dict.fromkeys(one.coded for one in grounds.all)
    narrower = {
        concept.coded: None
        for concept in concepts().by_code.values()
        if any(concepts().is_narrower(concept.coded, broad) for broad in named)
    }
    return tuple(named | dict(sorted(narrower.items())))[:MOST_CANDIDATES]


def plan_of(answer: str, grounds: Grounds) -> Plan:
    """The plan in a model's answer, its parts where the words have them.

    Raises:
        PlanError: The answer is no plan.
    """
    return _anchored(read_plan(answer), grounds)


def _anchored(plan: Plan, grounds: Grounds) -> Plan:
    sex, age, dates = plan.sex, plan.age, plan.dates
    found = replace(
        plan,
        wanted=tuple(_asked(one, grounds) for one in plan.wanted),
        excluded=tuple(_asked(one, grounds) for one in plan.excluded),
        anatomy=tuple(_asked(one, grounds) for one in plan.anatomy),
        modality=tuple(replace(one, why=grounds.modalities.get(one.code, one.why)) for one in plan.modality),
        sex=replace(sex, why=grounds.sex.why) if sex and grounds.sex else sex,
        age=replace(age, why=grounds.age.why) if age and grounds.age else age,
        dates=replace(dates, why=grounds.dates.why) if dates and grounds.dates else dates,
    )
    return replace(found, not_understood=left_over(grounds.words, found.spans))


def _asked(asked: Asked, grounds: Grounds) -> Asked:
    spans: list[Span] = [span for one in grounds.of(asked.concept) for span in one.why]
    spans += grounds.excluded_modalities.get(asked.concept.code, ())
    return replace(asked, why=why_of(spans)) if spans else asked
