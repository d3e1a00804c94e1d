"""Which concepts words name: the longest names first, with tolerance for spelling.

A name is compared word by word in the form of `common/terminology/words.py`; articles are passed over, and "aneurysm
of the aorta" is also read as "aorta aneurysm". A word of six letters or more that nobody knows counts as the one
known word that is one edit away (a letter added, lost, another, or two changed places), if there is only one. A word
that is known is never taken for another: "ileum" never for "ilium", nor "hypertension" for "hypotension".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from common.terminology.concepts import EMPTY, Concept, Form, concepts, known_words
from common.terminology.words import Token, form, is_one_edit, one_less

LEAST_LETTERS = 6
"""Of a word that may be misspelt."""

_BETWEEN = frozenset({"of", "in", "within"})


@dataclass(frozen=True, slots=True)
class Match:
    """A concept that words name.

    Attributes:
        concept: Which one.
        first: Number of its first word among the tokens.
        last: Number after its last.
    """

    concept: Concept
    first: int
    last: int


class Matcher:
    """The names, ready to be looked for.

    Args:
        by_form: Which concept a name means.
        known: More words that are no misspellings, in any form.
    """

    def __init__(self, by_form: Mapping[Form, Concept], known: Iterable[str]) -> None:
        self._by_form = by_form
        self._most = max(map(len, by_form)) + 2
        self._starts = {name[0] for name in by_form} | {name[-1] for name in by_form}
        named = {word for name in by_form for word in name}
        self._known = named | {form(word) for word in known} | set(known)
        self._near: dict[str, set[str]] = defaultdict(set)
        for word in named:
            if len(word) >= LEAST_LETTERS and word.isalpha():
                for less in one_less(word):
                    self._near[less].add(word)

    def spelt(self, words: Sequence[Token]) -> tuple[Token, ...]:
        """The tokens, with the form of a known word in place of a misspelling."""
        return tuple(replace(token, form=self._correct(token)) for token in words)

    def matches(self, words: Sequence[Token]) -> tuple[Match, ...]:
        """The concepts that tokens name, in order; none overlaps another but for a place's last words.

        Args:
            words: As `spelt` gives them.
        """
        found, at = [], 0
        while at < len(words):
            match = self._longest(words, at)
            if match is None:
                at += 1
                continue
            found.append(match)
            at = match.last
            behind = self._found_there(words, match) if match.concept.group == "anatomy" else None
            if behind is not None:
                found.append(behind)
                at = behind.last
        return tuple(found)

    def _found_there(self, words: Sequence[Token], place: Match) -> Match | None:
        """A finding that a place's last words begin: "L5-S1 disc herniation", "right coronary artery disease"."""
        for start in range(place.first + 1, place.last):
            behind = self._longest(words, start)
            if behind is not None and behind.last > place.last and behind.concept.group == "finding":
                return behind
        return None

    def _longest(self, words: Sequence[Token], at: int) -> Match | None:
        if words[at].form not in self._starts:
            return None
        for last in range(min(len(words), at + self._most), at, -1):
            if not words[last - 1].is_word or words[last - 1].form in EMPTY:
                continue
            run = [token for token in words[at:last] if token.is_word or token.text not in "-'/"]
            if all(token.is_word for token in run):
                concept = self._named([token.form for token in run if token.form not in EMPTY])
                if concept is not None:
                    return Match(concept, at, last)
        return None

    def _named(self, run: list[str]) -> Concept | None:
        concept = self._by_form.get(tuple(run))
        if concept is not None or len(run) > self._most:
            return concept
        for at, word in enumerate(run[1:-1], start=1):
            if word in _BETWEEN:
                return self._by_form.get((*run[at + 1 :], *run[:at]))
        return None

    def _correct(self, token: Token) -> str:
        word = token.form
        if len(word) < LEAST_LETTERS or not word.isalpha() or word in self._known or token.text.lower() in self._known:
            return word
        near = {known for less in one_less(word) for known in self._near.get(less, ()) if is_one_edit(word, known)}
        # Few people misspell the first letter: "efusion" is an effusion, though a fusion is as near.
        near = {known for known in near if known[0] == word[0]} or near
        return near.pop() if len(near) == 1 else word


@cache
def matcher(*known: str) -> Matcher:
    """The matcher of the package's tables.

    Args:
        *known: Words of whoever asks that are no misspellings.
    """
    return Matcher(concepts().by_form, [*known_words(), *known])
