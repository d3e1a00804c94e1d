"""What words give a plan to stand on: which concepts they name, say, deny or doubt, and whose studies they ask for.

It is read off the words alone, whoever proposed a plan; verification asks it, and never the proposer. A concept has
grounds in a mention of itself or of a broader one: who asks for effusion may be shown a pleural effusion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from client.mediator.circumstances import ages_of, dates_of, sex_of
from client.mediator.plan import Ages, Dates, Sex, Span, Why
from client.mediator.reading import Mention, Reading, read
from common.terminology.coded import Coded
from common.terminology.concepts import concepts
from common.terminology.modifiers import MODALITIES, Modifier, modality
from common.terminology.scope import Category


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A concept as words name it.

    Attributes:
        coded: The concept.
        span: Where, in characters.
        why: The same, and where what is said more of it stands.
        denied: It stands in the scope of a negation.
        others: It is said of another person than the patient.
        past: It stands in the scope of what is past.
        is_place: It is a part of the body.
        sides: Sides that words beside it say; for one of several meanings of an acronym those of its meaning.
        said: Severities and changes that words beside it say.
    """

    coded: Coded
    span: Span
    why: Why
    denied: bool = False
    others: bool = False
    past: bool = False
    is_place: bool = False
    sides: frozenset[str] = frozenset()
    said: frozenset[str] = frozenset()


class Grounds:
    """The grounds of one query.

    Args:
        words: In their plain form (`sanitise.py`).
        today: The day that lengths of time count back from.
    """

    def __init__(self, words: str, *, today: date) -> None:
        self.words = words
        self._today = today

    @cached_property
    def reading(self) -> Reading:
        """The words, taken apart."""
        return read(self.words)

    @cached_property
    def named(self) -> tuple[Ground, ...]:
        """Every mention."""
        more = self.reading.attached()
        return tuple(self._ground(one, more.get(one, [])) for one in self.reading.mentions)

    @cached_property
    def all(self) -> tuple[Ground, ...]:
        """Every mention, and every meaning of an acronym that has several."""
        maybe = [
            self._ground(Mention(sense.coded, _group(sense.coded), one.first, one.last, sense.laterality), [])
            for one in self.reading.ambiguous
            for sense in one.senses
        ]
        return (*self.named, *maybe)

    def of(self, coded: Coded) -> tuple[Ground, ...]:
        """Where words name a concept, or a broader one."""
        return tuple(one for one in self.all if one.coded == coded or concepts().is_narrower(coded, one.coded))

    @cached_property
    def modalities(self) -> dict[str, tuple[Span, ...]]:
        """Kinds of image that words ask for."""
        return self._images(excluded=False)

    @cached_property
    def excluded_modalities(self) -> dict[str, tuple[Span, ...]]:
        """Kinds of image that they exclude."""
        return self._images(excluded=True)

    @cached_property
    def sex(self) -> Sex | None:
        """Whose studies they ask for."""
        return sex_of(self.words)

    @cached_property
    def dates(self) -> Dates | None:
        """From when to when."""
        return dates_of(self.words, today=self._today)

    @cached_property
    def age(self) -> Ages | None:
        """Of what age."""
        return ages_of(self.words, apart_from=self.dates)

    def _ground(self, mention: Mention, more: Sequence[Modifier]) -> Ground:
        reading = self.reading
        sides = {one.values[0] for one in more if one.kind == "laterality"} | ({mention.laterality} - {""})
        return Ground(
            coded=mention.coded,
            span=reading.span(mention.first, mention.last),
            why=(
                reading.span(mention.first, mention.last),
                *(reading.span(one.first, one.last) for one in more),
            ),
            denied=bool(reading.cues_on(mention, Category.NEGATED)),
            others=bool(reading.cues_on(mention, Category.OTHER_PERSON)),
            past=bool(reading.cues_on(mention, Category.PAST)),
            is_place=mention.group == "anatomy",
            sides=frozenset(sides | ({"bilateral"} if len(sides) > 1 else set())),
            said=frozenset(one.values[0] for one in more if one.kind != "laterality"),
        )

    def _images(self, *, excluded: bool) -> dict[str, tuple[Span, ...]]:
        found: dict[str, tuple[Span, ...]] = {}
        for image in self.reading.images:
            if image.is_excluded == excluded:
                found[image.code] = (*found.get(image.code, ()), self.reading.span(image.first, image.last))
        return found


def is_known(coded: Coded) -> bool:
    """Whether a concept's code and meaning are the terminology's own: no word of a proposer's stands in it."""
    return concepts().known(coded) or (coded.code in MODALITIES and coded == modality(coded.code))


def _group(coded: Coded) -> str:
    found = concepts().by_code.get((coded.scheme, coded.code))
    return "modality" if found is None else found.group
