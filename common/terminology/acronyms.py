"""What acronyms mean, by the words beside them: "TR" beside valve words, "MS" beside brain words or beside valve words.

`acronyms.csv` has one row a meaning. An acronym of one meaning has it. Of one with several, each meaning counts how
many of the words that stand beside it are its own (`beside`); the one with most has it, and where two have as many,
or none has any, nobody guesses: whoever asked is to choose. An acronym that is also a common word ("as", "or") counts
only in capitals.

The meanings are common ones of radiology, of the project's own choosing; the rule is the oldest that is used for
clinical acronyms (Pakhomov, Pedersen and Chute, 2005, AMIA: words beside an acronym tell its sense).
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from common.terminology.coded import Coded
from common.terminology.concepts import concepts
from common.terminology.modifiers import modality
from common.terminology.words import Token, form, tokens

_COMMON_WORDS = frozenset({"as", "la", "abc", "oa", "us", "mi", "cn", "ms", "dm", "am", "ca", "ar", "ra", "pe", "af"})
"""Acronyms that in small letters may be something else; there they count only in a query without any capitals."""

_NEVER_SMALL = frozenset({"as", "la", "ar", "abc", "us"})
"""Acronyms that count in capitals alone."""


@dataclass(frozen=True, slots=True)
class Sense:
    """One meaning.

    Attributes:
        coded: The concept, or a kind of image (scheme DCM).
        laterality: The side that it says as well ("RUL"), or "".
        beside: Words that stand beside it when it is meant.
    """

    coded: Coded
    laterality: str
    beside: frozenset[str]


@dataclass(frozen=True, slots=True)
class Acronym:
    """An acronym as it stands in words.

    Attributes:
        senses: What it means; several where the words do not tell which.
        first: Number of its first token.
        last: Number after its last.
    """

    senses: tuple[Sense, ...]
    first: int
    last: int


def acronyms(words: Sequence[Token]) -> tuple[Acronym, ...]:
    """The acronyms in words."""
    table, most = _table()
    has_capitals = any(token.text != token.text.lower() for token in words)
    found, at = [], 0
    while at < len(words):
        for last in range(min(len(words), at + most), at, -1):
            run = tuple(token.text.lower() for token in words[at:last])
            if run in table and _is_written(words[at:last], has_capitals=has_capitals):
                beside = {token.form for number, token in enumerate(words) if not at <= number < last}
                found.append(Acronym(_meant(table[run], beside), at, last))
                at = last
                break
        else:
            at += 1
    return tuple(found)


def _is_written(run: Sequence[Token], *, has_capitals: bool) -> bool:
    """Whether letters are written as those of an acronym."""
    text = " ".join(token.text for token in run)
    if text.lower() in _NEVER_SMALL or (text.lower() in _COMMON_WORDS and has_capitals):
        return text == text.upper()
    return True


def _meant(senses: tuple[Sense, ...], beside: set[str]) -> tuple[Sense, ...]:
    if len(senses) == 1:
        return senses
    counts = [len(sense.beside & beside) for sense in senses]
    most = max(counts)
    best = tuple(sense for sense, count in zip(senses, counts, strict=True) if count == most)
    return best if most else senses


@cache
def _table() -> tuple[dict[tuple[str, ...], tuple[Sense, ...]], int]:
    text = (resources.files("common.terminology") / "acronyms.csv").read_text(encoding="utf-8")
    table: dict[tuple[str, ...], list[Sense]] = defaultdict(list)
    by_code = concepts().by_code
    for row in csv.DictReader(text.splitlines()):
        of = modality(row["code"]) if row["scheme"] == "DCM" else by_code[row["scheme"], row["code"]].coded
        beside = frozenset(form(word) for word in row["beside"].split("|") if word)
        acronym = tuple(token.text.lower() for token in tokens(row["acronym"]))
        table[acronym].append(Sense(of, row["laterality"], beside))
    return {acronym: tuple(senses) for acronym, senses in table.items()}, max(map(len, table))


def acronym_words() -> frozenset[str]:
    """All acronyms: none of them is a misspelling of a concept's word."""
    return frozenset(word for acronym in _table()[0] for word in acronym)
