"""A plan as whoever asked sees it: part by part, in words, each of which can be taken out.

A part is called by a key made of what it says, so that a page can name it in a form and nothing that a plan holds
stands in an address or a field. What is taken out leaves the words that the encoder reads as well, but for those that
another part stands on too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from client.mediator.coverage import left_over
from client.mediator.plan import Ages, Asked, Dates, Plan, Span, Why
from client.mediator.reading import read
from client.mediator.spoken import spoken_without
from common.canonical import digest

_KEY_DIGITS = 16
_SEXES = {"F": "female", "M": "male"}


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a plan.

    Attributes:
        kind: What it is to the search: "wanted", "not", "where", "image", "patient" or "made".
        words: What it says.
        key: What it is called.
        why: Where it stands in the words.
    """

    kind: str
    words: str
    key: str
    why: Why


def parts_of(plan: Plan) -> tuple[Part, ...]:
    """All that a plan asks for, in the order in which it is shown."""
    lists = (("wanted", plan.wanted), ("not", plan.excluded), ("where", plan.anatomy))
    found = [_part(kind, _of_asked(one), one.why, *one.key) for kind, asked in lists for one in asked]
    found += [_part("image", one.code, one.why, one.code) for one in plan.modality]
    if plan.sex is not None:
        found.append(_part("patient", _SEXES.get(plan.sex.value, plan.sex.value), plan.sex.why, "sex"))
    if plan.age is not None:
        found.append(_part("patient", _of_ages(plan.age), plan.age.why, "age"))
    if plan.dates is not None:
        found.append(_part("made", _of_dates(plan.dates), plan.dates.why, "dates"))
    return tuple(found)


def without(query: str, plan: Plan, keys: Iterable[str]) -> Plan:
    """A plan without some of its parts.

    A concept that is not wanted any more is not excluded instead, and the other way round: it does not matter then.

    Args:
        query: The words that the plan stands on.
        plan: The plan.
        keys: Of the parts that are taken out; one that the plan does not have changes nothing.
    """
    gone = {part.key: part for part in parts_of(plan)}.keys() & set(keys)
    if not gone:
        return plan
    removed = [part for part in parts_of(plan) if part.key in gone]
    kept = replace(
        plan,
        wanted=tuple(one for one in plan.wanted if _key("wanted", *one.key) not in gone),
        excluded=tuple(one for one in plan.excluded if _key("not", *one.key) not in gone),
        anatomy=tuple(one for one in plan.anatomy if _key("where", *one.key) not in gone),
        modality=tuple(one for one in plan.modality if _key("image", one.code) not in gone),
        sex=None if _key("patient", "sex") in gone else plan.sex,
        age=None if _key("patient", "age") in gone else plan.age,
        dates=None if _key("made", "dates") in gone else plan.dates,
    )
    heard = [span for one in (*kept.wanted, *kept.anatomy) for span in one.why]
    heard += [span for part in (*kept.modality, kept.sex, kept.age, kept.dates) if part for span in part.why]
    silent = [span for part in removed for span in part.why if part.kind != "not"]
    denied = [Span(one.why[0].start, max(span.end for span in one.why)) for one in plan.excluded]
    return replace(
        kept,
        text=spoken_without(query, [*denied, *read(query).denied_acronyms(), *_outside(silent, heard)]),
        not_understood=tuple(span for span in left_over(query, plan.spans)),
    )


def _outside(spans: Iterable[Span], kept: Iterable[Span]) -> list[Span]:
    """Those of some spans that share no character with any of the others."""
    others = list(kept)
    return [one for one in spans if not any(one.start < other.end and other.start < one.end for other in others)]


def _part(kind: str, words: str, why: Why, *says: str) -> Part:
    return Part(kind=kind, words=words, key=_key(kind, *says), why=why)


def _key(kind: str, *says: str) -> str:
    return digest([kind, *says])[:_KEY_DIGITS]


def _of_asked(asked: Asked) -> str:
    said = " ".join(word for word in (asked.severity, asked.change, asked.concept.meaning) if word)
    more = [asked.laterality, "possible" if asked.uncertain else "", "in the past" if asked.history else ""]
    return ", ".join([said, *(word for word in more if word)])


def _of_ages(age: Ages) -> str:
    if age.least is None:
        return f"up to {age.most} years"
    if age.most is None:
        return f"from {age.least} years"
    return f"{age.least} years" if age.least == age.most else f"{age.least} to {age.most} years"


def _of_dates(dates: Dates) -> str:
    ends = [f"from {dates.first}" if dates.first else "", f"until {dates.last}" if dates.last else ""]
    return " ".join(end for end in ends if end)
