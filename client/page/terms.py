"""What words and a report share, in simple terms: the same word, said in both, or denied in both.

Two words are the same but for case and an English plural. A word is denied where it stands in the scope of a negation
(`common/terminology/scope.py`), as a plan's words are; where a query says it and a report denies it, or the other way
round, it is not shared but opposed, and shown as such: a code hears such a difference badly. This explains nothing of
how the model came to its code; it says what a reader would look for first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from client.mediator.reading import read
from client.mediator.validate import MOST_CHARACTERS
from common.terminology.scope import Category

_WORD = re.compile(r"[^\W\d_][^\W_]+(?:-[^\W_]+)*")
_SHORTEST = 3

_EMPTY = frozenset(
    {"about", "above", "after", "all", "also", "and", "any", "are", "because", "been", "before", "below", "but", "can"}
    | {"could", "does", "each", "either", "evidence", "few", "finding", "for", "from", "had", "has", "have", "however"}
    | {"image", "impression", "into", "its", "likely", "may", "might", "more", "most", "nor", "not", "noted", "now"}
    | {"only", "other", "our", "out", "over", "patient", "per", "same", "seen", "several", "she", "should", "show"}
    | {"shown", "since", "some", "study", "such", "than", "that", "the", "their", "then", "there", "these", "they"}
    | {"this", "those", "through", "too", "under", "until", "very", "was", "were", "what", "when", "where", "which"}
    | {"while", "who", "will", "with", "within", "without", "would", "year", "yet", "you", "your"}
)
"""Words that say nothing of a study."""


class Kind(StrEnum):
    """What a piece of a report is to a query."""

    PLAIN = ""
    SHARED = "shared"
    OPPOSED = "opposed"


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a report, as it is shown.

    Attributes:
        text: The piece.
        kind: What it is to the query.
    """

    text: str
    kind: Kind


@dataclass(frozen=True, kw_only=True)
class Explained:
    """A report beside a query.

    Attributes:
        pieces: The report, whole and in its order.
        shared: Words that both say, or both deny (with "no " before), in the report's order.
        opposed: Words that one says and the other denies.
    """

    pieces: tuple[Piece, ...]
    shared: tuple[str, ...] = ()
    opposed: tuple[str, ...] = ()


def explained(query: str, report: str) -> Explained:
    """What a report shares with a query.

    Args:
        query: The words that were typed; "" where a picture was given, which shares no words.
        report: The report.
    """
    asked: dict[str, set[bool]] = {}
    for found in _said(query):
        asked.setdefault(found.stem, set()).add(found.denied)
    pieces, end = [], 0
    words: dict[Kind, dict[str, None]] = {Kind.SHARED: {}, Kind.OPPOSED: {}}
    for found in _said(report):
        if found.stem not in asked:
            continue
        kind = Kind.SHARED if found.denied in asked[found.stem] else Kind.OPPOSED
        words[kind][f"no {found.stem}" if found.denied and kind is Kind.SHARED else found.stem] = None
        pieces += [Piece(report[end : found.start], Kind.PLAIN), Piece(report[found.start : found.end], kind)]
        end = found.end
    pieces.append(Piece(report[end:], Kind.PLAIN))
    shared = words[Kind.SHARED]
    return Explained(
        pieces=tuple(piece for piece in pieces if piece.text),
        shared=tuple(shared),
        opposed=tuple(word for word in words[Kind.OPPOSED] if shared.keys().isdisjoint((word, f"no {word}"))),
    )


@dataclass(frozen=True, slots=True)
class _Word:
    """A word of a text."""

    stem: str
    denied: bool
    start: int
    end: int


def _said(text: str) -> Iterator[_Word]:
    """The words of a text that say something, as far as it is held against plans."""
    text = text[:MOST_CHARACTERS]
    denied = _denied(text)
    for found in _WORD.finditer(text):
        small = found[0].lower()
        if len(small) >= _SHORTEST and _EMPTY.isdisjoint((small, _stem(small))):
            is_denied = any(start <= found.start() and found.end() <= end for start, end in denied)
            yield _Word(_stem(small), is_denied, found.start(), found.end())


def _denied(text: str) -> list[tuple[int, int]]:
    """Runs of characters that a negation reaches."""
    reading = read(text)
    reached = [reading.span(*cue.reach) for cue in reading.cues if cue.category is Category.NEGATED]
    return [(span.start, span.end) for span in reached]


def _stem(word: str) -> str:
    """A word without its English plural."""
    if len(word) > _SHORTEST + 1 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word
