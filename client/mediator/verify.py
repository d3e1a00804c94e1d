"""A plan held against the words that it is for. Whoever proposed it is believed in nothing.

Guarantee: of a plan that passes, every wanted concept and part of the body is named by the words, or is narrower than
one that is, and not by a denied mention alone; every side, severity, change, kind of image, sex, age and date is said
by them; nothing that they exclude or restrict is missing; what cannot go together in a body, they put together
themselves; no text stands in it but the words' own and the terminology's. What "named", "denied" and "said" mean is
`grounds.py`, read off the words alone.

Each check is one function of the words' grounds and the plan, and gives the reasons to refuse it. All must be silent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from client.mediator.compatible import flags_of
from client.mediator.grounds import Ground, Grounds, is_known
from client.mediator.identifiers import identifiers
from client.mediator.plan import Ages, Asked, Plan, Why
from client.mediator.reading import read
from common.terminology.acronyms import Acronym
from common.terminology.scope import Category
from common.terminology.words import tokens

_YOUNGEST, _OLDEST = 0, 200


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why something was not done.

    Attributes:
        check: Which check refused: a name of `CHECKS`, or what stands before it ("length", "divergence", "model").
        field: The field of the plan, or "query".
        reason: In words; none of them is a proposer's.
    """

    check: str
    field: str
    reason: str


_Check = Callable[[Grounds, Plan], Iterator[Refusal]]


def _identifiers(grounds: Grounds, plan: Plan) -> Iterator[Refusal]:
    """No patient is named, in the words or in the plan's text."""
    for what in identifiers(grounds.words):
        yield _refusal("identifiers", "query", f"the words hold what looks like {what}; a search names nobody")
    for what in set(identifiers(plan.text)) - set(identifiers(grounds.words)):
        yield _refusal("identifiers", "text", f"the text holds what looks like {what}; a search names nobody")


def _known(_: Grounds, plan: Plan) -> Iterator[Refusal]:
    """Every concept is the terminology's, with its own name."""
    for field, asked in _all_asked(plan):
        if not is_known(asked.concept):
            yield _refusal("known", field, "a concept's code or name is not the terminology's")
    if not all(is_known(choice) for one in plan.ask_back for choice in one.choices):
        yield _refusal("known", "ask_back", "a choice's code or name is not the terminology's")


def _places(grounds: Grounds, plan: Plan) -> Iterator[Refusal]:
    """Every `why` lies within the words."""
    parts: list[tuple[str, Why]] = [(field, asked.why) for field, asked in _all_asked(plan)]
    parts += [("modality", one.why) for one in plan.modality] + [("ask_back", one.why) for one in plan.ask_back]
    singles = {"sex": plan.sex, "age": plan.age, "dates": plan.dates}
    parts += [(field, one.why) for field, one in singles.items() if one is not None]
    parts.append(("not_understood", plan.not_understood))
    for field, why in parts:
        if any(span.end > len(grounds.words) for span in why):
            yield _refusal("places", field, "it stands on characters that the words do not have")


def _support(grounds: Grounds, plan: Plan) -> Iterator[Refusal]:
    """Every concept is named by the words where it says, or is narrower than one that is."""
    for field, asked in _all_asked(plan):
        if not _standing(grounds, asked):
            yield _refusal("support", field, f"the words do not ask for {_name(asked)}")
    for one in plan.ask_back:
        if not all(grounds.of(choice) for choice in one.choices):
            yield _refusal("support", "ask_back", "a choice is no meaning of the words")


def _negation(grounds: Grounds, plan: Plan) -> Iterator[Refusal]:
    """Nothing denied is wanted, nothing that is said of the patient excluded, and nothing of another person wanted."""
    for field, asked in _all_asked(plan):
        found = grounds.of(asked.concept)
        if field == "excluded":
            if found and not any(one.denied for one in found):
                yield _refusal("negation", field, f"the words do not exclude {_name(asked)}")
        elif found and all(one.denied or one.others for one in found):
            yield _refusal("negation", field, f"the words exclude {_name(asked)}, or say it of somebody else")


def _modifiers(grounds: Grounds, plan: Plan) -> Iterator[Refusal]:
    """A side, a severity, a change or the past is as the words say it of that concept."""
    for field, asked in _all_asked(plan):
        found = grounds.of(asked.concept)
        if not found:
            continue
        if asked.laterality and not any(asked.laterality in one.sides for one in found):
            yield _refusal("modifiers", field, f"the words do not say this side of {_name(asked)}")
        if any(value and not any(value in one.said for one in found) for value in (asked.severity, asked.change)):
            yield _refusal("modifiers", field, f"the words do not say this severity or change of {_name(asked)}")
        said = [one for one in found if not one.denied]
        if field == "wanted" and said and not any(asked.history == one.past for one in said):
            yield _refusal("modifiers", field, f"past and present of {_name(asked)} are not as the words have them")


def _circumstances(grounds: Grounds, plan: Plan) -> Iterator[Refusal]:
    """Kinds of image, sex, age and dates are those that the words ask for, and no others."""
    for one in plan.modality:
        if one.code not in grounds.modalities and not any(ground.coded.code == one.code for ground in grounds.all):
            yield _refusal("circumstances", "modality", f"the words do not ask for {one.code}")
    if plan.sex is not None and (grounds.sex is None or plan.sex.value != grounds.sex.value):
        yield _refusal("circumstances", "sex", "the words do not ask for this sex")
    if plan.age is not None and _bounds(plan.age) != _bounds(grounds.age):
        yield _refusal("circumstances", "age", "the words do not ask for these ages")
    if plan.dates is not None and (
        grounds.dates is None or (plan.dates.first, plan.dates.last) != (grounds.dates.first, grounds.dates.last)
    ):
        yield _refusal("circumstances", "dates", "the words do not ask for these dates")


def _equity(grounds: Grounds, plan: Plan) -> Iterator[Refusal]:
    """Nobody is left out for sex or age unless the words ask for it."""
    if plan.sex is not None and grounds.sex is None:
        yield _refusal("equity", "sex", "patients of one sex would be left out, which the words do not ask for")
    least, most = _bounds(plan.age)
    asked_least, asked_most = _bounds(grounds.age)
    if least > asked_least or most < asked_most:
        yield _refusal("equity", "age", "patients of some ages would be left out, which the words do not ask for")


def _body(grounds: Grounds, plan: Plan) -> Iterator[Refusal]:
    """Who proposed put nothing together that cannot go together in a body, by narrowing it or by choosing a meaning.

    Where the words do so themselves the plan stands, and whoever asked is told (`compatible.py`).
    """
    named = {one.coded for one in grounds.named}
    for flag in flags_of(grounds.words, plan):
        if not named.issuperset(flag.concepts):
            yield _refusal("body", "wanted", f"{flag.words}, which the words do not say")


def _complete(grounds: Grounds, plan: Plan) -> Iterator[Refusal]:
    """What the words exclude or restrict is not missing, and the plan looks for something."""
    excluded = {asked.concept for asked in plan.excluded}
    for one in grounds.named:
        if one.denied and not one.others and not one.is_place and one.coded not in excluded:
            yield _refusal("complete", "excluded", f"it leaves out that the words exclude {one.coded.meaning}")
    if any(not _is_settled(grounds, one, plan) for one in grounds.reading.ambiguous):
        yield _refusal("complete", "excluded", "it leaves out that the words exclude what an acronym means")
    if grounds.excluded_modalities.keys() - {asked.concept.code for asked in plan.excluded}:
        yield _refusal("complete", "excluded", "it leaves out a kind of image that the words exclude")
    asked_modalities = grounds.modalities.keys() - grounds.excluded_modalities.keys()
    missing = {
        "modality": asked_modalities - {one.code for one in plan.modality},
        "sex": grounds.sex is not None and plan.sex is None,
        "age": grounds.age is not None and plan.age is None,
        "dates": grounds.dates is not None and plan.dates is None,
    }
    for field, value in missing.items():
        if value:
            yield _refusal("complete", field, "it leaves out what the words ask for, and would find more than that")
    findings = [one for one in grounds.all if not one.denied and not one.others and not one.is_place]
    if findings and not (plan.wanted or plan.ask_back):
        yield _refusal("complete", "wanted", "it looks for nothing, though the words name what to look for")


def _text(grounds: Grounds, plan: Plan) -> Iterator[Refusal]:
    """What the encoder reads is made of the words and of names of wanted concepts, and holds nothing denied."""
    names = [asked.concept.meaning for asked in (*plan.wanted, *plan.anatomy)]
    known = {token.form for text in (grounds.words, *names) for token in tokens(text)}
    if any(token.is_word and token.form not in known for token in tokens(plan.text)):
        yield _refusal("text", "text", "it holds words that were not asked")
    heard = read(plan.text)
    named = [mention.coded for mention in heard.mentions if mention.group != "anatomy"]
    for coded in (*named, *(sense.coded for one in heard.ambiguous for sense in one.senses)):
        found = grounds.of(coded)
        if found and all(one.denied for one in found):
            yield _refusal("text", "text", f"it names {coded.meaning}, which the words exclude")


CHECKS: Mapping[str, _Check] = {
    "identifiers": _identifiers,
    "known": _known,
    "places": _places,
    "support": _support,
    "negation": _negation,
    "modifiers": _modifiers,
    "circumstances": _circumstances,
    "equity": _equity,
    "body": _body,
    "complete": _complete,
    "text": _text,
}
"""Every check by its name, in the order of asking. The grammar is checked before, where a plan is read."""


def verify(plan: Plan, grounds: Grounds, *, checks: Mapping[str, _Check] = CHECKS) -> tuple[Refusal, ...]:
    """All reasons to refuse a plan for words; none where it may be used."""
    return tuple(dict.fromkeys(refusal for check in checks.values() for refusal in check(grounds, plan)))


def _all_asked(plan: Plan) -> Iterator[tuple[str, Asked]]:
    for field in ("wanted", "excluded", "anatomy"):
        for asked in getattr(plan, field):
            yield field, asked


def _standing(grounds: Grounds, asked: Asked) -> bool:
    """Whether one of the places that a concept says it stands on names it."""
    if asked.concept.code in grounds.excluded_modalities and asked.concept.scheme == "DCM":
        return True
    return any(_within(one, asked.why) for one in grounds.of(asked.concept))


def _is_settled(grounds: Grounds, one: Acronym, plan: Plan) -> bool:
    """Whether an acronym of several meanings, where it is denied, is asked back or has a meaning that is excluded."""
    if not grounds.reading.cues_on(one, Category.NEGATED) or grounds.reading.cues_on(one, Category.OTHER_PERSON):
        return True
    meanings, span = {sense.coded for sense in one.senses}, grounds.reading.span(one.first, one.last)
    return not meanings.isdisjoint(asked.concept for asked in plan.excluded) or any(
        why.start <= span.start and span.end <= why.end for back in plan.ask_back for why in back.why
    )


def _within(ground: Ground, why: Why) -> bool:
    return any(span.start <= ground.span.start and ground.span.end <= span.end for span in why)


def _bounds(age: Ages | None) -> tuple[int, int]:
    if age is None:
        return _YOUNGEST, _OLDEST
    return _YOUNGEST if age.least is None else age.least, _OLDEST if age.most is None else age.most


def _name(asked: Asked) -> str:
    """A concept in words, where they are the terminology's."""
    return asked.concept.meaning if is_known(asked.concept) else "this concept"


def _refusal(check: str, field: str, reason: str) -> Refusal:
    return Refusal(check=check, field=field, reason=reason)
