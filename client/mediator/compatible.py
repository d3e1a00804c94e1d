"""What of a plan cannot go together in a body: a hint to whoever asked, in words. Nothing is taken out for it.

Three rules, each of which keeps silent where the terminology does not know (`common/terminology/body.py`):

- A finding or part that is said to lie in a part of the body which it cannot reach: "mitral regurgitation of the knee".
  It has to be said so: by "of" or "in" between the two, or by the part right before the finding. "Brain MRI, lung
  cancer" says nothing of where the cancer lies, and neither does a part that goes on to another word: "stroke in heart
  surgery".
- What patients of one sex alone have, where the other is asked for.
- A side, right before it, of what has none, or the other side of what has one: "left prostate", "left middle lobe". A
  side before what is found in an organ is the finding's: "left prostate nodule". Organs that change sides in a mirrored
  body are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from client.mediator.plan import Asked, Plan
from client.mediator.reading import Mention, Reading, read
from common.terminology.body import body_of
from common.terminology.coded import Coded
from common.terminology.concepts import EMPTY, concepts
from common.terminology.scope import steering_tokens

_OF = frozenset({"of"})
_IN = frozenset({"of", "in", "within", "inside"})
_GO_ON = frozenset({"and", "or", "with", "on", "by", "at", "from", "after", "before", "for"})
"""Words that may follow a part of the body which is meant for itself."""

_SEXES = {"F": "female", "M": "male"}
_ON_SIDES = {"left": "a left one is asked for", "right": "a right one is asked for", "bilateral": "both are asked for"}


@dataclass(frozen=True, kw_only=True)
class Flag:
    """Something that does not go together.

    Attributes:
        words: What, for whoever asked; of the terminology's own words.
        concepts: The concepts that it is said of.
    """

    words: str
    concepts: tuple[Coded, ...]


def flags_of(words: str, plan: Plan) -> tuple[Flag, ...]:
    """What of a plan cannot go together.

    Args:
        words: That the plan stands on.
        plan: The plan; what it excludes is not looked at.
    """
    reading = read(words)
    found = [*_in_other_places(reading, plan), *_of_other_sex(plan), *_on_other_sides(reading, plan)]
    return tuple(dict.fromkeys(found))


def _in_other_places(reading: Reading, plan: Plan) -> Iterator[Flag]:
    places = [one for one in reading.mentions if one.group == "anatomy"]
    for place in places:
        for one in reading.mentions:
            if one.group == "device" or not _is_said_to_lie(reading, one, place):
                continue
            for asked in _asked_at(reading, one, (*plan.wanted, *plan.anatomy)):
                for where in _asked_at(reading, place, plan.anatomy):
                    reach, region = body_of(asked.concept).regions, body_of(where.concept).regions
                    if reach and region and reach.isdisjoint(region):
                        said = f"{_name(asked)} does not lie in the {_name(where)}"
                        yield Flag(words=said, concepts=(asked.concept, where.concept))


def _of_other_sex(plan: Plan) -> Iterator[Flag]:
    for asked in (*plan.wanted, *plan.anatomy):
        sex = body_of(asked.concept).sex
        if plan.sex is not None and sex and sex != plan.sex.value:
            said = f"{_name(asked)} does not go with {_SEXES[plan.sex.value]} patients"
            yield Flag(words=said, concepts=(asked.concept,))


def _on_other_sides(reading: Reading, plan: Plan) -> Iterator[Flag]:
    for one in reading.mentions:
        for asked in _asked_at(reading, one, (*plan.wanted, *plan.anatomy)):
            side, name = body_of(asked.concept).side, _name(asked)
            if asked.laterality in {"", side} or not _has_side_before(reading, one):
                continue
            if side == "one" and not any(other.first == one.last for other in reading.mentions):
                said = f"there is one {name}, and {_ON_SIDES[asked.laterality]}"
            elif {side, asked.laterality} == {"left", "right"}:
                said = f"the {name} lies on the {side}, and {_ON_SIDES[asked.laterality]}"
            else:
                continue
            yield Flag(words=said, concepts=(asked.concept,))


def _has_side_before(reading: Reading, one: Mention) -> bool:
    """Whether a side stands right before a concept; further off it may be another's."""
    return any(more.kind == "laterality" and more.last == one.first for more in reading.modifiers)


def _is_said_to_lie(reading: Reading, one: Mention, place: Mention) -> bool:
    """Whether words say that something lies in a part of the body."""
    if not _stands_alone(reading, place, but=one):
        return False
    if place.last == one.first:
        # "CT chest appendicitis": there the chest is what was imaged.
        return one.group != "anatomy" and not any(image.last == place.first for image in reading.images)
    # A part may be displaced: "liver in the chest" is a hernia, and only "of" says where it belongs.
    links = _OF if one.group == "anatomy" else _IN
    passed_over = {at for more in reading.modifiers for at in range(more.first, more.last)}
    between = [
        reading.words[at].form
        for at in range(one.last, place.first)
        if at not in passed_over and reading.words[at].form not in EMPTY
    ]
    return bool(between) and links.issuperset(between)


def _stands_alone(reading: Reading, place: Mention, *, but: Mention) -> bool:
    """Whether a part of the body is meant for itself: no other word than some that join goes on from it."""
    at = place.last
    if at in {but.first, len(reading.words)} or not reading.words[at].is_word:
        return True
    return reading.words[at].form in _IN | _GO_ON or at in steering_tokens(reading.words)


def _asked_at(reading: Reading, mention: Mention, asked: tuple[Asked, ...]) -> list[Asked]:
    """What is asked by a mention: its concept, or a narrower one."""
    span = reading.span(mention.first, mention.last)
    return [
        one
        for one in asked
        if concepts().is_narrower(one.concept, mention.coded)
        and any(why.start <= span.start and span.end <= why.end for why in one.why)
    ]


def _name(asked: Asked) -> str:
    return asked.concept.meaning.lower()
