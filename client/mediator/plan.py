"""The plan: all that a clinician's words may become. A value in a closed grammar, which names nobody and does nothing.

Whoever proposes a plan, rules or a language model, proposes this and no more. Its JSON form has the grammar of
`plan.schema.json` (JSON Schema 2020-12) and is read strictly: what the grammar does not name is refused, never left
out in silence. One plan has one canonical form (`common/canonical.py`), whatever order its parts were found in, and
is named by the digest of it.

Every part says which characters of the words it stands on (`why`): half-open ranges of code points in the text that
the proposer was given. That a part is right about those words is for verification, not for this file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from importlib import resources
from typing import Any, NoReturn

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from common.canonical import canonical_json, digest
from common.errors import PlanError
from common.terminology.coded import Coded

VERSION = 1
MOST_BYTES = 64 * 1024
"""Of a plan as JSON; a usual one has less than 2 kB."""


@dataclass(frozen=True, order=True)
class Span:
    """Characters of the words that were asked, from `start` up to but not including `end`.

    Raises:
        PlanError: It is empty, or begins before the words do.
    """

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise PlanError(f"plan: why: {self.start} to {self.end} are no characters of the words")


Why = tuple[Span, ...]
"""Where a part of a plan stands in the words."""

MOST_SPANS = 16
"""Of one part; words that are said more often than that add nothing."""

MOST = {"wanted": 32, "excluded": 32, "anatomy": 32, "modality": 8, "ask_back": 16, "not_understood": 256}
"""What a plan may hold of each, as in its grammar."""


def why_of(spans: Iterable[Span]) -> Why:
    """Spans in order, each once, and no more than a part may have."""
    return tuple(sorted(set(spans))[:MOST_SPANS])


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A concept, as it is wanted or excluded.

    Attributes:
        concept: The concept.
        laterality: "left", "right", "bilateral", or "" where no side was asked.
        severity: "mild", "moderate", "severe", or "".
        change: Against an earlier study: "new", "increased", "decreased", "stable", or "".
        uncertain: The words say it as a possibility.
        history: The words say it of the past: a state after an operation, a treated disease.
        weight: How much it counts beside the others, above 0 and up to 1.
        why: Where it stands in the words, with its modifiers and what negates or doubts it.
    """

    concept: Coded
    laterality: str = ""
    severity: str = ""
    change: str = ""
    uncertain: bool = False
    history: bool = False
    weight: float = 1.0
    why: Why

    @property
    def key(self) -> tuple[str, ...]:
        """What makes it another than its neighbours: all but where it stands, how sure, and its weight."""
        return (self.concept.scheme, self.concept.code, self.laterality, self.severity, self.change, str(self.history))


@dataclass(frozen=True, kw_only=True)
class Modality:
    """A kind of image that is asked for.

    Attributes:
        code: As DICOM writes it (0008,0060): "CT", "MR", "US".
        why: Where it stands in the words.
    """

    code: str
    why: Why


@dataclass(frozen=True, kw_only=True)
class Sex:
    """Whose studies: "F" or "M"."""

    value: str
    why: Why


@dataclass(frozen=True, kw_only=True)
class Ages:
    """From which age to which, in completed years, both included; None where one end is open.

    Raises:
        PlanError: Both ends are open, or the first is above the last.
    """

    least: int | None
    most: int | None
    why: Why

    def __post_init__(self) -> None:
        _check_ends(self.least, self.most, "age")


@dataclass(frozen=True, kw_only=True)
class Dates:
    """From which day to which a study was made, both included; None where one end is open.

    Raises:
        PlanError: Both ends are open, or the first is after the last.
    """

    first: date | None
    last: date | None
    why: Why

    def __post_init__(self) -> None:
        _check_ends(self.first, self.last, "dates")


@dataclass(frozen=True, kw_only=True)
class AskBack:
    """Words that mean more than one thing; whoever asked is to choose.

    Attributes:
        choices: What they may mean, two or more.
        why: The words.
    """

    choices: tuple[Coded, ...]
    why: Why


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to look for. Its parts are kept in one order, so that equal plans are equal values.

    Attributes:
        text: What the encoder reads: the words without what they exclude.
        wanted: Findings, diagnoses, operations and devices that are wanted.
        excluded: Concepts of any kind that are not.
        anatomy: Parts of the body that are asked for.
        modality: Kinds of image, any of which will do.
        sex: Whose studies, or None where it was not asked.
        age: Of what age, or None.
        dates: From when, or None.
        ask_back: What is to be asked back.
        not_understood: Words that no part stands on and that say something.

    Raises:
        PlanError: A list holds too many, or a concept or a kind of image twice.
    """

    text: str
    wanted: tuple[Asked, ...] = ()
    excluded: tuple[Asked, ...] = ()
    anatomy: tuple[Asked, ...] = ()
    modality: tuple[Modality, ...] = ()
    sex: Sex | None = None
    age: Ages | None = None
    dates: Dates | None = None
    ask_back: tuple[AskBack, ...] = ()
    not_understood: Why = ()
    version: int = field(default=VERSION, init=False)

    def __post_init__(self) -> None:
        for name, most in MOST.items():
            if len(getattr(self, name)) > most:
                raise PlanError(f"plan: {name}: holds more than {most}; ask for less at once")
        for name in ("wanted", "excluded", "anatomy"):
            asked = sorted(getattr(self, name), key=lambda one: one.key)
            if len({one.key for one in asked}) < len(asked):
                raise PlanError(f"plan: {name}: a concept stands in it twice; say it once, with all its words in why")
            object.__setattr__(self, name, tuple(asked))
        if len({one.code for one in self.modality}) < len(self.modality):
            raise PlanError("plan: modality: one stands in it twice; say it once, with all its words in why")
        object.__setattr__(self, "modality", tuple(sorted(self.modality, key=lambda one: one.code)))
        object.__setattr__(self, "ask_back", tuple(sorted(self.ask_back, key=lambda one: one.why)))
        object.__setattr__(self, "not_understood", tuple(sorted(self.not_understood)))

    @property
    def spans(self) -> Why:
        """All characters that some part stands on, in order."""
        parts: list[Asked | Modality | Sex | Ages | Dates | AskBack] = [*self.wanted, *self.excluded, *self.anatomy]
        parts += [*self.modality, *self.ask_back]
        parts += [part for part in (self.sex, self.age, self.dates) if part is not None]
        return tuple(sorted({span for part in parts for span in part.why}))

    def as_json(self) -> dict[str, Any]:
        """The plan in its grammar."""
        return {
            "version": self.version,
            "text": self.text,
            "wanted": [_asked_json(one) for one in self.wanted],
            "excluded": [_asked_json(one) for one in self.excluded],
            "anatomy": [_asked_json(one) for one in self.anatomy],
            "modality": [{"code": one.code, "why": _why_json(one.why)} for one in self.modality],
            "sex": self.sex and {"value": self.sex.value, "why": _why_json(self.sex.why)},
            "age": self.age and {"least": self.age.least, "most": self.age.most, "why": _why_json(self.age.why)},
            "dates": self.dates
            and {
                "first": self.dates.first and self.dates.first.isoformat(),
                "last": self.dates.last and self.dates.last.isoformat(),
                "why": _why_json(self.dates.why),
            },
            "ask_back": [
                {"choices": [vars(choice) for choice in one.choices], "why": _why_json(one.why)}
                for one in self.ask_back
            ],
            "not_understood": _why_json(self.not_understood),
        }

    @property
    def canonical(self) -> bytes:
        """The one form of this plan."""
        return canonical_json(self.as_json())

    @property
    def digest(self) -> str:
        """What logs and caches name it by: SHA-256 of the canonical form, in hexadecimal."""
        return digest(self.as_json())


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


def _asked_json(asked: Asked) -> dict[str, Any]:
    return {**vars(asked), "concept": vars(asked.concept), "why": _why_json(asked.why)}


def _read_why(spans: list[list[int]]) -> Why:
    return tuple(sorted(Span(int(start), int(end)) for start, end in spans))


def _why_json(why: Why) -> list[list[int]]:
    return [[span.start, span.end] for span in why]


def _whole(value: float | None) -> int | None:
    """A whole number, which JSON may also write as 40.0."""
    return None if value is None else int(value)


def _day(text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError as error:
        raise PlanError("plan: dates: is no day of the calendar; write YYYY-MM-DD") from error


def _check_ends(first: Any, last: Any, name: str) -> None:  # noqa: ANN401 - two numbers, or two days
    if first is None and last is None:
        raise PlanError(f"plan: {name}: both ends are open; leave it out")
    if first is not None and last is not None and first > last:
        raise PlanError(f"plan: {name}: begins after its end")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a field stands twice")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
