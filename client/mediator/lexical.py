"""The proposer that is always there: terminology and rules, no model. What it does not understand it says.

A finding, operation or device in the scope of a negation is excluded, one in the scope of doubt is wanted as
uncertain, one of the past as history, and one of another person ("family history of") is left to the words. A part of
the body in the scope of a negation belongs to the finding that is denied there; where none is, the part itself is
excluded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime

from client.mediator.circumstances import ages_of, dates_of, sex_of
from client.mediator.coverage import left_over
from client.mediator.plan import AskBack, Asked, Modality, Plan, Span, Why, why_of
from client.mediator.reading import Mention, Reading, read
from client.mediator.sanitise import MOST_CHARACTERS
from client.mediator.spoken import spoken_without
from client.policy.site_schema import MediatorLimits
from common.errors import PlanError
from common.terminology.modifiers import Modifier, modality
from common.terminology.scope import Category, Cue

UNCERTAIN_WEIGHT = 0.5
"""What a possibility counts beside what is said outright."""


class Lexical:
    """The lexical proposer.

    Args:
        today: The day that lengths of time count back from; the day of asking unless given.
    """

    name = "lexical"

    def __init__(self, today: date | None = None) -> None:
        self._today = today

    def propose(self, query: str) -> Plan:
        """A plan for a clinician's words.

        Raises:
            PlanError: The words are too many.
        """
        if len(query) > MOST_CHARACTERS:
            raise PlanError(f"the query has more than {MOST_CHARACTERS:,} characters; say it in fewer words")
        reading = read(query)
        wanted, excluded, anatomy = _sorted_out(reading)
        dates = dates_of(query, today=self._today or datetime.now(UTC).date())
        plan = Plan(
            text=spoken_without(query, [*map(_whole, excluded), *reading.denied_acronyms()]),
            wanted=_merged(wanted),
            excluded=_merged(excluded),
            anatomy=_merged(anatomy),
            modality=_modalities(reading),
            sex=sex_of(query),
            age=ages_of(query, apart_from=dates),
            dates=dates,
            ask_back=tuple(
                AskBack(choices=tuple(sense.coded for sense in one.senses), why=(reading.span(one.first, one.last),))
                for one in reading.ambiguous
            ),
        )
        return replace(plan, not_understood=left_over(query, plan.spans))


def lexical(_: MediatorLimits, today: date | None) -> Lexical:
    """The proposer as others are made; no setting says anything of it."""
    return Lexical(today)


def _sorted_out(reading: Reading) -> tuple[list[Asked], list[Asked], list[Asked]]:
    """What is wanted, what is excluded, and where."""
    wanted: list[Asked] = []
    excluded: list[Asked] = []
    anatomy: list[Asked] = []
    denied = [one for one in reading.mentions if reading.cues_on(one, Category.NEGATED)]
    more = reading.attached()
    for mention in reading.mentions:
        if reading.cues_on(mention, Category.OTHER_PERSON):
            continue
        asked = _asked(reading, mention, more.get(mention, []))
        if mention not in denied:
            (anatomy if mention.group == "anatomy" else wanted).append(asked)
        elif mention.group == "anatomy" and (whose := _denied_finding(reading, mention, denied)) is not None:
            excluded.append(_asked(reading, whose, more.get(whose, []), also=asked.why))
        else:
            excluded.append(asked)
    excluded = [replace(one, uncertain=False, weight=1.0) for one in excluded]
    return wanted, [*excluded, *_excluded_modalities(reading)], anatomy


def _denied_finding(reading: Reading, place: Mention, denied: Sequence[Mention]) -> Mention | None:
    """The finding that is denied in the same scope as a part of the body; the nearest."""
    scopes = set(reading.cues_on(place, Category.NEGATED))
    findings = [one for one in denied if one.group != "anatomy"]
    same = [one for one in findings if scopes & set(reading.cues_on(one, Category.NEGATED))]
    return min(same, key=lambda one: abs(one.first - place.first), default=None)


def _asked(reading: Reading, mention: Mention, more: Sequence[Modifier], *, also: Why = ()) -> Asked:
    doubts, past = reading.cues_on(mention, Category.UNCERTAIN), reading.cues_on(mention, Category.PAST)
    parts: list[Mention | Modifier | Cue] = [mention, *more, *doubts, *past]
    parts += reading.cues_on(mention, Category.NEGATED)
    sides = {one.values[0] for one in more if one.kind == "laterality"} | ({mention.laterality} - {""})
    said = {one.kind: one.values[0] for one in reversed(more)}
    # A part of the body is neither doubted nor past: what is there is.
    is_place = mention.group == "anatomy"
    uncertain = bool(doubts) and not is_place
    return Asked(
        concept=mention.coded,
        laterality="bilateral" if len(sides) > 1 else next(iter(sides), ""),
        severity=said.get("severity", ""),
        change=said.get("change", ""),
        uncertain=uncertain,
        history=bool(past) and not is_place,
        weight=UNCERTAIN_WEIGHT if uncertain else 1.0,
        why=why_of([*also, *(reading.span(one.first, one.last) for one in parts)]),
    )


def _modalities(reading: Reading) -> tuple[Modality, ...]:
    found: dict[str, set[Span]] = {}
    for image in reading.images:
        if not image.is_excluded:
            found.setdefault(image.code, set()).add(reading.span(image.first, image.last))
    return tuple(Modality(code=code, why=why_of(spans)) for code, spans in found.items())


def _excluded_modalities(reading: Reading) -> list[Asked]:
    return [
        Asked(concept=modality(image.code), why=(reading.span(image.first - 1, image.last),))
        for image in reading.images
        if image.is_excluded
    ]


def _merged(asked: Sequence[Asked]) -> tuple[Asked, ...]:
    """One of each: what is said twice stands on both, and is certain where it once is."""
    found: dict[tuple[str, ...], Asked] = {}
    for one in asked:
        other = found.get(one.key)
        if other is not None:
            certain = one if other.uncertain else other
            found[one.key] = replace(certain, why=why_of([*one.why, *other.why]))
        else:
            found[one.key] = one
    return tuple(found.values())


def _whole(excluded: Asked) -> Span:
    """From the first to the last of the words that something excluded stands on."""
    return Span(min(span.start for span in excluded.why), max(span.end for span in excluded.why))
