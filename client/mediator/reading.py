"""A query taken apart: its words, the concepts they name, what is said more of them, and what is denied or doubted.

Words for a side, a severity or a change belong to the next concept of their clause, or, where none follows, to the one
before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache

from client.mediator.coverage import request_words
from client.mediator.plan import Span
from common.terminology.acronyms import Acronym, acronym_words, acronyms
from common.terminology.coded import Coded
from common.terminology.concepts import concepts
from common.terminology.matcher import Match, Matcher, matcher
from common.terminology.modifiers import MODALITIES, Modifier, modifier_words, modifiers
from common.terminology.scope import Category, Cue, cues, scope_words
from common.terminology.words import Token, tokens

_CLAUSE = frozenset(",.;:()\n")
_MODIFIER_REACH = 5
"""Tokens between a modifier and its concept."""


@dataclass(frozen=True, slots=True)
class Mention:
    """A concept where it stands.

    Attributes:
        coded: The concept.
        group: Its group in the terminology, or "modality".
        first: Number of its first token.
        last: Number after its last.
        laterality: A side that its name says ("RUL"), or "".
    """

    coded: Coded
    group: str
    first: int
    last: int
    laterality: str = ""


@dataclass(frozen=True, slots=True)
class Image:
    """A kind of image where it stands.

    Attributes:
        code: As DICOM writes it.
        first: Number of its first token.
        last: Number after its last.
        is_excluded: A negation stands right before it: "no mass on CT" excludes no CT.
    """

    code: str
    first: int
    last: int
    is_excluded: bool


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A query, taken apart.

    Attributes:
        words: Its tokens, misspelt ones in the form that was meant.
        mentions: The concepts, in order, kinds of image left out.
        images: The kinds of image.
        ambiguous: Acronyms that mean more than one thing there.
        modifiers: Sides, severities and changes.
        cues: What denies, doubts, or tells of the past or of somebody else.
    """

    words: tuple[Token, ...]
    mentions: tuple[Mention, ...]
    images: tuple[Image, ...]
    ambiguous: tuple[Acronym, ...]
    modifiers: tuple[Modifier, ...]
    cues: tuple[Cue, ...]

    def span(self, first: int, last: int) -> Span:
        """The characters of tokens."""
        return Span(self.words[first].start, self.words[last - 1].end)

    def cues_on(self, one: Mention | Acronym, category: Category) -> list[Cue]:
        """The cues of a category in whose scope a concept or an acronym stands."""
        return [cue for cue in self.cues if cue.category is category and cue.is_about(one.first, one.last)]

    def denied_acronyms(self) -> tuple[Span, ...]:
        """Where acronyms of several meanings are denied, each from its negation on; no encoder is to hear them."""
        found = [(one, self.cues_on(one, Category.NEGATED)) for one in self.ambiguous]
        runs = [[(one.first, one.last), *((cue.first, cue.last) for cue in denied)] for one, denied in found if denied]
        return tuple(self.span(min(first for first, _ in run), max(last for _, last in run)) for run in runs)

    def attached(self) -> dict[Mention, list[Modifier]]:
        """The modifiers of each concept."""
        found: dict[Mention, list[Modifier]] = {}
        for modifier in self.modifiers:
            whose = self._modified(modifier)
            if whose is not None:
                found.setdefault(whose, []).append(modifier)
        return found

    def _modified(self, modifier: Modifier) -> Mention | None:
        fitting = [one for one in self.mentions if modifier.kind == "laterality" or one.group != "anatomy"]
        after = [one for one in fitting if one.first >= modifier.last and self._is_near(modifier.last, one.first)]
        if after:
            return after[0]
        before = [one for one in fitting if one.last <= modifier.first and self._is_near(one.last, modifier.first)]
        # "Effusion, left-sided": over a comma only where nothing else is near.
        before = before or [one for one in fitting if 0 <= modifier.first - one.last <= _MODIFIER_REACH]
        return before[-1] if before else None

    def _is_near(self, start: int, end: int) -> bool:
        between = self.words[start:end]
        return len(between) <= _MODIFIER_REACH and all(token.text not in _CLAUSE for token in between)


@lru_cache(maxsize=32)
def read(query: str) -> Reading:
    """Take a query apart; who proposes, who checks and who counts ask it of the same words."""
    words = _matcher().spelt(tokens(query))
    short = acronyms(words)
    named = [match for match in _matcher().matches(words) if not _is_acronym(match, short)]
    short = tuple(one for one in short if not any(_overlap(one, match) for match in named))
    mentions = [Mention(match.concept.coded, match.concept.group, match.first, match.last) for match in named]
    mentions += [_short_mention(one) for one in short if len(one.senses) == 1]
    taken = [*((one.first, one.last) for one in mentions), *((one.first, one.last) for one in short)]
    said_more = modifiers(words, taken=taken)
    found = cues(words, taken=sorted(taken + [(one.first, one.last) for one in said_more]))
    images = _images(said_more, mentions, found)
    # "Not MRI of the knee" denies a kind of image, and nothing behind it.
    denied = {image.first for image in images if image.is_excluded}
    return Reading(
        words=words,
        mentions=tuple(sorted((one for one in mentions if one.group != "modality"), key=lambda one: one.first)),
        images=images,
        ambiguous=tuple(one for one in short if len(one.senses) > 1),
        modifiers=tuple(one for one in said_more if one.kind != "modality"),
        cues=tuple(cue for cue in found if cue.last not in denied),
    )


def _images(said_more: Iterable[Modifier], mentions: Iterable[Mention], found: Iterable[Cue]) -> tuple[Image, ...]:
    denies = {cue.last for cue in found if cue.category is Category.NEGATED}
    said = [(code, one.first, one.last) for one in said_more if one.kind == "modality" for code in one.values]
    short = [(one.coded.code, one.first, one.last) for one in mentions if one.coded.code in MODALITIES]
    return tuple(Image(code, first, last, first in denies) for code, first, last in said + short)


@cache
def _matcher() -> Matcher:
    return matcher(*sorted(scope_words() | modifier_words() | acronym_words() | request_words()))


def _short_mention(one: Acronym) -> Mention:
    sense = one.senses[0]
    found = concepts().by_code.get((sense.coded.scheme, sense.coded.code))
    return Mention(sense.coded, "modality" if found is None else found.group, one.first, one.last, sense.laterality)


def _is_acronym(match: Match, short: Iterable[Acronym]) -> bool:
    """Whether a name is no more than an acronym: "MS" is read by what stands beside it, whatever tables call by it."""
    return any(one.first <= match.first and match.last <= one.last for one in short)


def _overlap(one: Acronym, match: Match) -> bool:
    return one.first < match.last and match.first < one.last
