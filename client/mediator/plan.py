"""The plan: all that a clinician's words may become. A value in a closed grammar, which names nobody and does nothing.

Whoever proposes a plan, rules or a language model, proposes this and no more; its grammar is read by `plan_json.py`.
One plan has one canonical form (`common/canonical.py`), whatever order its parts were found in, and is named by the
digest of it.

Every part says which characters of the words it stands on (`why`): half-open ranges of code points in the text that
the proposer was given. That a part is right about those words is for verification, not for this file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from common.canonical import canonical_json, digest
from common.errors import PlanError
from common.terminology.coded import Coded

VERSION = 1


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


def _asked_json(asked: Asked) -> dict[str, Any]:
    return {**vars(asked), "concept": vars(asked.concept), "why": _why_json(asked.why)}


def _why_json(why: Why) -> list[list[int]]:
    return [[span.start, span.end] for span in why]


def _check_ends(first: Any, last: Any, name: str) -> None:  # noqa: ANN401 - two numbers, or two days
    if first is None and last is None:
        raise PlanError(f"plan: {name}: both ends are open; leave it out")
    if first is not None and last is not None and first > last:
        raise PlanError(f"plan: {name}: begins after its end")
