"""The grammar of plans: how one is read from JSON, of whoever proposes it, strictly.

It is `plan.schema.json` (JSON Schema 2020-12). What it does not name is refused, never left out in silence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from functools import cache
from importlib import resources
from typing import Any, NoReturn

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from client.mediator.plan import Ages, AskBack, Asked, Dates, Modality, Plan, Sex, Span, Why
from common.canonical import canonical_json
from common.errors import PlanError
from common.terminology.coded import Coded

MOST_BYTES = 64 * 1024
"""Of a plan as JSON; a usual one has less than 2 kB."""


def plan_schema() -> dict[str, Any]:
    """The grammar, as JSON Schema."""
    text = (resources.files("client.mediator") / "plan.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def read_plan(text: str | bytes) -> Plan:
    """The plan that a JSON text holds.

    Args:
        text: From whoever proposes one; nothing of it is believed.

    Raises:
        PlanError: It is too long, no JSON, or not in the grammar. The message names the field and the rule, and quotes
            nothing but field names of the grammar.
    """
    if len(text) > MOST_BYTES:
        raise PlanError(f"plan: has more than {MOST_BYTES // 1024} kB; propose a shorter one")
    try:
        value = json.loads(text, object_pairs_hook=_without_repeats, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise PlanError("plan: is not JSON; propose one object in the grammar of plan.schema.json") from error
    problem = best_match(_validator().iter_errors(value))
    if problem is not None:
        known = [str(step) for step in problem.absolute_path]
        raise PlanError(f"plan: {'.'.join(known) or 'the whole'}: {_rule(problem.validator)}; see plan.schema.json")
    if not _is_text(value):
        raise PlanError("plan: text: holds characters that no file can; leave them out")
    return _plan_of(value)


def _is_text(value: Mapping[str, Any]) -> bool:
    """Whether no string holds a lone half of a UTF-16 pair, which JSON can write and UTF-8 cannot."""
    try:
        canonical_json(value)
    except UnicodeEncodeError:
        return False
    return True


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(plan_schema())


_RULES = {
    "additionalProperties": "holds a field that the grammar does not know",
    "required": "lacks a field",
    "type": "is of a wrong type",
    "enum": "is none of the values that it may take",
    "const": "is none of the values that it may take",
    "pattern": "is not written as it must be",
    "maxLength": "is too long",
    "minLength": "is empty",
    "maxItems": "holds too many",
    "minItems": "holds too few",
    "uniqueItems": "holds one twice",
    "minimum": "is too small",
    "exclusiveMinimum": "is too small",
    "maximum": "is too large",
}


def _rule(validator: object) -> str:
    return _RULES.get(str(validator), "is not as the grammar has it")


def _plan_of(value: Mapping[str, Any]) -> Plan:
    """The plan of a value that the grammar has passed."""
    sex, age, dates = value["sex"], value["age"], value["dates"]
    return Plan(
        text=value["text"],
        wanted=tuple(map(_asked_of, value["wanted"])),
        excluded=tuple(map(_asked_of, value["excluded"])),
        anatomy=tuple(map(_asked_of, value["anatomy"])),
        modality=tuple(Modality(code=one["code"], why=_read_why(one["why"])) for one in value["modality"]),
        sex=sex and Sex(value=sex["value"], why=_read_why(sex["why"])),
        age=age and Ages(least=_whole(age["least"]), most=_whole(age["most"]), why=_read_why(age["why"])),
        dates=dates and Dates(first=_day(dates["first"]), last=_day(dates["last"]), why=_read_why(dates["why"])),
        ask_back=tuple(
            AskBack(choices=tuple(Coded(**choice) for choice in one["choices"]), why=_read_why(one["why"]))
            for one in value["ask_back"]
        ),
        not_understood=_read_why(value["not_understood"]),
    )


def _asked_of(value: Mapping[str, Any]) -> Asked:
    rest = {name: value[name] for name in ("laterality", "severity", "change", "uncertain", "history")}
    return Asked(concept=Coded(**value["concept"]), weight=float(value["weight"]), why=_read_why(value["why"]), **rest)


def _read_why(spans: list[list[int]]) -> Why:
    return tuple(sorted(Span(int(start), int(end)) for start, end in spans))


def _whole(value: float | None) -> int | None:
    """A whole number, which JSON may also write as 40.0."""
    return None if value is None else int(value)


def _day(text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError as error:
        raise PlanError("plan: dates: is no day of the calendar; write YYYY-MM-DD") from error


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a field stands twice")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
