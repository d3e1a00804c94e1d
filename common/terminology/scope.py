"""What is denied, doubted, past, or said of somebody else: ConText's categories, over the words of a query.

A term of `scope.csv` before a concept, or after it, reaches to the end of its clause or to a term that ends scopes
(Harkema, Dowling, Thornblade and Chapman, 2009, 10.1016/j.jbi.2009.05.002; terms of NegEx by Chapman et al., 2001,
10.1006/jbin.2001.1029; what stands there as `wardround` is the project's own). The longest term counts, so that "no
change" is not "no", and "cannot exclude" is not "exclude": terms of the category `none` do nothing, and are there so
that shorter ones do not.

"Non" reaches the next word alone: a "non-displaced fracture" is a fracture.

Clauses end at a full stop, semicolon, colon, bracket or bullet. At a comma a scope ends as well, for queries are lists:
"no effusion, left pneumonia" wants the pneumonia. Where the list goes on to an "or" or "nor", it is one: "no mass,
effusion or pneumothorax" wants none of them.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources

from common.terminology.words import Token, form, tokens

_CLAUSE_ENDS = frozenset(".;:()[]\n!\u2022")
_LIST_ENDS = frozenset({"or", "nor"})
_ADDS = frozenset({"with", "and", "plus"})

REACH_AFTER = 4
"""Words that a term reaches back over, which stands after what it is about."""


class Category(StrEnum):
    """What a term says of the concepts in its scope."""

    NEGATED = "negated"
    UNCERTAIN = "uncertain"
    PAST = "past"
    OTHER_PERSON = "other person"
    NONE = "none"
    END = "end"


@dataclass(frozen=True, slots=True)
class Cue:
    """A term as it stands in words, and what it reaches.

    Attributes:
        category: What it says.
        first: Number of its first token.
        last: Number after its last token.
        reach: Numbers of the first token that it is about, and after the last.
    """

    category: Category
    first: int
    last: int
    reach: tuple[int, int]

    def is_about(self, first: int, last: int) -> bool:
        """Whether tokens from `first` to before `last` stand in its scope."""
        return self.reach[0] <= first and last <= self.reach[1]


def steering_tokens(words: Sequence[Token]) -> frozenset[int]:
    """Numbers of the tokens that stand in some term: they steer how others are read, and name nothing."""
    return frozenset(number for _, _, first, last in _terms(words, ()) for number in range(first, last))


def cues(words: Sequence[Token], *, taken: Sequence[tuple[int, int]] = ()) -> tuple[Cue, ...]:
    """The terms in words, with their scopes.

    Args:
        words: The tokens.
        taken: Runs of tokens, first and after the last, that are names of concepts: no term begins or ends inside one.
    """
    found = list(_terms(words, taken))
    held = []
    for category, position, first, last in found:
        if category in {Category.NONE, Category.END}:
            continue
        if position == "next":
            reach = (last, _after_next_word(words, last))
        elif position == "before":
            reach = (last, _end(words, last, [one for one in found if one[2] >= last], category))
        else:
            reach = (_begin(words, first, found), first)
        if reach[0] < reach[1]:
            held.append(Cue(category, first, last, reach))
    return tuple(held)


_Found = tuple[Category, str, int, int]


def _terms(words: Sequence[Token], taken: Sequence[tuple[int, int]]) -> Iterator[_Found]:
    """The longest terms, from the left, none on a token that is taken."""
    table, most = _table()
    blocked = {number for first, last in taken for number in range(first, last)}
    at = 0
    while at < len(words):
        for last in range(min(len(words), at + most), at, -1):
            kinds = table.get(tuple(token.form for token in words[at:last]))
            if kinds and blocked.isdisjoint(range(at, last)):
                yield (*_kind(kinds, words, at, last, taken), at, last)
                at = last
                break
        else:
            at += 1


def _kind(
    kinds: Sequence[tuple[Category, str]],
    words: Sequence[Token],
    first: int,
    last: int,
    taken: Sequence[tuple[int, int]],
) -> tuple[Category, str]:
    """Of a term that may stand before or after, after where a concept stands right before it and none right behind."""
    behind = any(first <= start and start - last <= 1 for start, _ in taken if start >= last)
    ahead = any(0 <= first - end <= 1 for _, end in taken)
    after = [kind for kind in kinds if kind[1] == "after"]
    before = [kind for kind in kinds if kind[1] != "after"]
    at_the_end = last == len(words) or words[last].text in _CLAUSE_ENDS or words[last].text == ","
    if after and (not before or at_the_end or (ahead and not behind)):
        return after[0]
    return before[0]


def _end(words: Sequence[Token], start: int, later: Sequence[_Found], category: Category) -> int:
    """Where a scope that begins at a token ends."""
    ends = {first for kind, position, first, _ in later if _ends(kind, position, category, adjacent=first == start)}
    commas = 0
    for number in range(start, len(words)):
        word = words[number].text
        if word in _CLAUSE_ENDS or number in ends:
            return number
        if word == ",":
            if not _is_list(words, number, ends):
                return number
            commas += 1
        if commas and words[number].form in _ADDS and words[number - 1].text == ",":
            return number
    return len(words)


def _after_next_word(words: Sequence[Token], start: int) -> int:
    return next((at + 1 for at in range(start, len(words)) if words[at].text != "-"), len(words))


def _ends(kind: Category, position: str, category: Category, *, adjacent: bool) -> bool:
    """Whether a later term ends a scope: an end, a term of the same kind, a negation, or one of the past further on.

    Doubt inside a negation does not ("no possible fracture"), nor does the past right behind it ("no prior stroke").
    """
    if kind is Category.END:
        return True
    if position != "before":
        return False
    return kind in {Category.NEGATED, category} or (kind is Category.PAST and not adjacent)


def _is_list(words: Sequence[Token], comma: int, ends: set[int]) -> bool:
    """Whether a comma parts the items of a list that ends in "or", with nothing between that ends scopes."""
    for number in range(comma + 1, len(words)):
        if words[number].text in _CLAUSE_ENDS or number in ends:
            return False
        if words[number].form in _LIST_ENDS:
            return True
    return False


def _begin(words: Sequence[Token], end: int, found: Sequence[_Found]) -> int:
    """Where a scope begins that ends before a token."""
    stops = {last for kind, _, _, last in found if kind is not Category.NONE and last <= end}
    for number in range(end, max(0, end - REACH_AFTER) - 1, -1):
        if number in stops or number == 0:
            return number
        if words[number - 1].text in _CLAUSE_ENDS or words[number - 1].text == ",":
            return number
    return max(0, end - REACH_AFTER)


@cache
def _table() -> tuple[dict[tuple[str, ...], list[tuple[Category, str]]], int]:
    """Kinds of each term, and the tokens of the longest."""
    text = (resources.files("common.terminology") / "scope.csv").read_text(encoding="utf-8")
    table: dict[tuple[str, ...], list[tuple[Category, str]]] = {}
    for row in csv.DictReader(text.splitlines()):
        term = tuple(token.form for token in tokens(row["words"]))
        table.setdefault(term, []).append((Category(row["category"]), row["position"]))
    return table, max(map(len, table))


def scope_words() -> frozenset[str]:
    """All words of the terms: none of them is a misspelling of a concept's."""
    return frozenset(form(word) for term in _table()[0] for word in term)
