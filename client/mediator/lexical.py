"""The proposer that is always there: terminology and rules, no model. What it does not understand it says.

A finding, operation or device in the scope of a negation is excluded, one in the scope of doubt is wanted as uncertain,
one of the past as history, and one of another person ("family history of") is left to the words. A part of the body in
the scope of a negation belongs to the finding that is denied there; where none is, the part itself is excluded.
Words for a side, a severity or a change belong to the next concept of their clause, or, where none follows, to the one before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import cache

from client.mediator.circumstances import ages_of, dates_of, sex_of
from client.mediator.plan import Asked, AskBack, Modality, Plan, Span, Why
from common.errors import PlanError
from common.terminology.acronyms import Acronym, acronym_words, acronyms
from common.terminology.coded import Coded
from common.terminology.concepts import concepts
from common.terminology.matcher import Match, Matcher, matcher
from common.terminology.modifiers import MODALITIES, Modifier, modality, modifier_words, modifiers
from common.terminology.scope import Category, Cue, cues, scope_words, steering_tokens
from common.terminology.words import Token, form, tokens

MOST_CHARACTERS = 2000
"""Of a query; a long one has 200."""

UNCERTAIN_WEIGHT = 0.5
"""What a possibility counts beside what is said outright."""

_CLAUSE = frozenset(",.;:()\n")
_MODIFIER_REACH = 5
"""Tokens between a modifier and its concept."""

REQUEST_WORDS = frozenset(
    {"similar", "case", "study", "image", "scan", "exam", "find", "search", "show", "look", "like", "want", "need"}
    | {"patient", "with", "without", "of", "in", "on", "at", "to", "from", "for", "by", "and", "or", "the", "a", "an"}
    | {"this", "that", "these", "those", "any", "some", "all", "is", "are", "was", "were", "be", "been", "has", "have"}
    | {"had", "having", "show", "shown", "showing", "demonstrating", "demonstrates", "demonstrate", "seen", "see"}
    | {
        "me",
        "my",
        "i",
        "we",
        "our",
        "please",
        "there",
        "it",
        "its",
        "as",
        "also",
        "such",
        "who",
        "which",
        "where",
        "side",
    }
    | {"sided", "other", "finding", "evidence", "report", "reported", "involving", "consistent", "give", "get", "us"}
    | {"example", "looking", "compatible", "presenting", "presented", "due", "only", "than", "into", "about", "one"}
    | {"sign", "no", "not", "but", "yet", "if", "so", "year", "old", "aged", "age", "his", "her", "their", "he", "she"}
    | {
        "imaging",
        "view",
        "series",
        "related",
        "associated",
        "includes",
        "including",
        "picture",
        "plus",
        "along",
        "then",
    }
    | {
        "anything",
        "something",
        "can",
        "could",
        "you",
        "would",
        "do",
        "does",
        "did",
        "what",
        "when",
        "how",
        "more",
        "most",
    }
)
"""Words that say nothing of a study, in the form that is compared."""


@dataclass(frozen=True, slots=True)
class _Mention:
    """A concept where it stands."""

    coded: Coded
    group: str
    first: int
    last: int
    laterality: str = ""


@dataclass(frozen=True, kw_only=True)
class _Read:
    """A query, taken apart."""

    words: tuple[Token, ...]
    mentions: tuple[_Mention, ...]
    ambiguous: tuple[Acronym, ...]
    modifiers: tuple[Modifier, ...]
    cues: tuple[Cue, ...]

    def span(self, first: int, last: int) -> Span:
        """The characters of tokens."""
        return Span(self.words[first].start, self.words[last - 1].end)


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
        read = _read(query)
        wanted, excluded, anatomy = _sorted_out(read)
        plan = Plan(
            text=_for_the_encoder(query, excluded),
            wanted=_merged(wanted),
            excluded=_merged(excluded),
            anatomy=_merged(anatomy),
            modality=_modalities(read),
            sex=sex_of(query),
            age=ages_of(query),
            dates=dates_of(query, today=self._today or datetime.now(UTC).date()),
            ask_back=tuple(
                AskBack(choices=tuple(sense.coded for sense in one.senses), why=(read.span(one.first, one.last),))
                for one in read.ambiguous
            ),
        )
        return replace(plan, not_understood=_left_over(content_words(query), plan.spans))


def content_words(query: str) -> tuple[Token, ...]:
    """The words of a query that say something of a study: neither asking, nor negating, nor filling."""
    words = tokens(query)
    steering = steering_tokens(words)
    return tuple(
        token
        for number, token in enumerate(words)
        if token.is_word and token.form not in REQUEST_WORDS and number not in steering
    )


def coverage(query: str, plan: Plan) -> float:
    """Share of a query's content words that some part of a plan stands on, 0 to 1; of no such words it is 1."""
    words = content_words(query)
    explained = [token for token in words if _is_covered(token, plan.spans)]
    return len(explained) / len(words) if words else 1.0


def _read(query: str) -> _Read:
    words = _matcher().spelt(tokens(query))
    short = acronyms(words)
    named = [match for match in _matcher().matches(words) if not _is_within(match, short)]
    short = tuple(one for one in short if not any(_overlap(one, match) for match in named))
    mentions = [_Mention(match.concept.coded, match.concept.group, match.first, match.last) for match in named]
    mentions += [_short_mention(one) for one in short if len(one.senses) == 1]
    mentions.sort(key=lambda one: one.first)
    taken = [(one.first, one.last) for one in [*mentions, *short]]
    said_more = modifiers(words, taken=taken)
    taken += [(one.first, one.last) for one in said_more]
    return _Read(
        words=words,
        mentions=tuple(mentions),
        ambiguous=tuple(one for one in short if len(one.senses) > 1),
        modifiers=said_more,
        cues=cues(words, taken=sorted(taken)),
    )


@cache
def _matcher() -> Matcher:
    return matcher(*sorted(scope_words() | modifier_words() | acronym_words() | REQUEST_WORDS))


def _short_mention(one: Acronym) -> _Mention:
    sense = one.senses[0]
    found = concepts().by_code.get((sense.coded.scheme, sense.coded.code))
    return _Mention(sense.coded, "modality" if found is None else found.group, one.first, one.last, sense.laterality)


def _is_within(match: Match, short: Iterable[Acronym]) -> bool:
    """Whether a name is no more than an acronym: "MS" is read by what stands beside it, whatever tables call by it."""
    return any(one.first <= match.first and match.last <= one.last for one in short)


def _overlap(one: Acronym, match: Match) -> bool:
    return one.first < match.last and match.first < one.last


def _sorted_out(read: _Read) -> tuple[list[Asked], list[Asked], list[Asked]]:
    """What is wanted, what is excluded, and where."""
    wanted, excluded, anatomy = [], [], []
    denied = [one for one in read.mentions if _cues_on(read, one, Category.NEGATED)]
    more = _attached(read)
    for mention in read.mentions:
        if mention.group == "modality" or _cues_on(read, mention, Category.OTHER_PERSON):
            continue
        asked = _asked(read, mention, more.get(mention, []))
        if mention not in denied:
            (anatomy if mention.group == "anatomy" else wanted).append(asked)
        elif mention.group == "anatomy" and (whose := _denied_finding(read, mention, denied)) is not None:
            excluded.append(_asked(read, whose, [], also=asked.why))
        else:
            excluded.append(replace(asked, uncertain=False, weight=1.0))
    excluded += _excluded_modalities(read)
    return wanted, excluded, anatomy


def _denied_finding(read: _Read, place: _Mention, denied: Sequence[_Mention]) -> _Mention | None:
    """The finding that is denied in the same scope as a part of the body; the nearest."""
    scopes = set(_cues_on(read, place, Category.NEGATED))
    same = [one for one in denied if one.group != "anatomy" and scopes & set(_cues_on(read, one, Category.NEGATED))]
    return min(same, key=lambda one: abs(one.first - place.first), default=None)


def _asked(read: _Read, mention: _Mention, more: Sequence[Modifier], *, also: Why = ()) -> Asked:
    on_it = {
        category: _cues_on(read, mention, category)
        for category in (Category.UNCERTAIN, Category.PAST, Category.NEGATED)
    }
    why = {read.span(mention.first, mention.last), *also}
    why |= {read.span(one.first, one.last) for one in [*more, *(cue for found in on_it.values() for cue in found)]}
    values = {one.kind: one.values[0] for one in reversed(more)}
    sides = {one.values[0] for one in more if one.kind == "laterality"} | ({mention.laterality} - {""})
    side = "bilateral" if len(sides) > 1 else next(iter(sides), "")
    uncertain = bool(on_it[Category.UNCERTAIN]) and mention.group != "anatomy"
    return Asked(
        concept=mention.coded,
        laterality=side,
        severity=values.get("severity", ""),
        change=values.get("change", ""),
        uncertain=uncertain,
        history=bool(on_it[Category.PAST]) and mention.group != "anatomy",
        weight=UNCERTAIN_WEIGHT if uncertain else 1.0,
        why=tuple(sorted(why)),
    )


def _cues_on(read: _Read, mention: _Mention, category: Category) -> list[Cue]:
    # "Not MRI of the knee" denies a kind of image, and nothing behind it.
    images = {first for _, first, _ in _images(read)}
    return [
        cue
        for cue in read.cues
        if cue.category is category and cue.last not in images and cue.is_about(mention.first, mention.last)
    ]


def _attached(read: _Read) -> dict[_Mention, list[Modifier]]:
    """The modifiers of each concept."""
    found: dict[_Mention, list[Modifier]] = {}
    for modifier in read.modifiers:
        if modifier.kind == "modality":
            continue
        wanted = [one for one in read.mentions if one.group != "modality"]
        if modifier.kind != "laterality":
            wanted = [one for one in wanted if one.group != "anatomy"]
        after = [one for one in wanted if one.first >= modifier.last and _is_near(read, modifier.last, one.first)]
        before = [one for one in wanted if one.last <= modifier.first and _is_near(read, one.last, modifier.first)]
        # "Effusion, left-sided": over a comma only where nothing else is near.
        over = [one for one in wanted if 0 <= modifier.first - one.last <= _MODIFIER_REACH]
        if after or before or over:
            found.setdefault(after[0] if after else (before or over)[-1], []).append(modifier)
    return found


def _is_near(read: _Read, start: int, end: int) -> bool:
    between = read.words[start:end]
    return len(between) <= _MODIFIER_REACH and all(token.text not in _CLAUSE for token in between)


def _modalities(read: _Read) -> tuple[Modality, ...]:
    found: dict[str, set[Span]] = {}
    for code, first, last in _images(read):
        if not _is_image_excluded(read, first):
            found.setdefault(code, set()).add(read.span(first, last))
    return tuple(Modality(code=code, why=tuple(sorted(spans))) for code, spans in found.items())


def _excluded_modalities(read: _Read) -> list[Asked]:
    return [
        Asked(concept=modality(code), why=(read.span(max(0, first - 1), last),))
        for code, first, last in _images(read)
        if _is_image_excluded(read, first)
    ]


def _images(read: _Read) -> list[tuple[str, int, int]]:
    """Kinds of image, each with its first token and the one after its last."""
    said = [(code, one.first, one.last) for one in read.modifiers if one.kind == "modality" for code in one.values]
    short = [(one.coded.code, one.first, one.last) for one in read.mentions if one.coded.code in MODALITIES]
    return said + [one for one in short if one[0] in MODALITIES]


def _is_image_excluded(read: _Read, first: int) -> bool:
    """A kind of image is excluded by a negation right before it: "no mass on CT" excludes no CT."""
    return any(cue.category is Category.NEGATED and cue.last == first for cue in read.cues)


def _merged(asked: Sequence[Asked]) -> tuple[Asked, ...]:
    """One of each: what is said twice stands on both, and is certain where it once is."""
    found: dict[tuple[str, ...], Asked] = {}
    for one in asked:
        other = found.get(one.key)
        if other is not None:
            certain = one if other.uncertain else other
            one = replace(certain, why=tuple(sorted({*one.why, *other.why})))  # noqa: PLW2901 - merged with the earlier
        found[one.key] = one
    return tuple(found.values())


def _for_the_encoder(query: str, excluded: Sequence[Asked]) -> str:
    """The words without what they exclude, which a code would hear as wanted."""
    kept = list(query)
    for asked in excluded:
        first, last = min(span.start for span in asked.why), max(span.end for span in asked.why)
        for at in range(first, last):
            kept[at] = "\0"
    text = re.sub(r"\s*\0+", " ", "".join(kept))
    text = re.sub(r"(?i)(?:\s+(?:but|and|or|with|also))+\s*(?=[,;.]|$)", "", text.rstrip())
    return re.sub(r"(?:\s*[,;]\s*(?=[,;.]|$))|^\s*[,;]\s*", "", " ".join(text.split())).strip()


def _left_over(words: Sequence[Token], spans: Why) -> Why:
    """Runs of words that no part stands on."""
    return tuple(Span(token.start, token.end) for token in words if not _is_covered(token, spans))


def _is_covered(token: Token, spans: Why) -> bool:
    return any(span.start <= token.start and token.end <= span.end for span in spans)
