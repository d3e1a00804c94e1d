"""Words as the terminology compares them: one form for case, plural, British spelling and Latin endings.

The same rules go over the terminology's own names and over what is asked, so a rule that is rough (it makes "chiarus"
of "Chiari") is rough on both sides and loses nothing but a difference between words that nobody asks for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

_TOKEN = re.compile(r"[^\W_]+(?:['\u2019]s\b)?|[^\w\s]")
_POSSESSIVE = re.compile(r"['\u2019]s$")
_SHORTEST_RULED = 4
"""Letters from which on endings are taken off."""

_IRREGULAR = {
    "diverticula": "diverticulum",
    "septa": "septum",
    "hila": "hilum",
    "ova": "ovum",
    "foramina": "foramen",
    "lumina": "lumen",
    "cortices": "cortex",
    "appendices": "appendix",
    "apices": "apex",
    "cervices": "cervix",
    "indices": "index",
    "vertices": "vertex",
    "teeth": "tooth",
    "feet": "foot",
    "women": "woman",
    "men": "man",
    "children": "child",
    "arteries": "artery",
    "biopsies": "biopsy",
    "lenses": "lens",
    "pelves": "pelvis",
    "metastatic": "metastasis",
    "disk": "disc",
    "diseases": "disease",
    "cases": "case",
    "phases": "phase",
    "doses": "dose",
    "bruises": "bruise",
    "ganglia": "ganglion",
    "axes": "axis",
    "mucosae": "mucosa",
    "carcinomata": "carcinoma",
    "leiomyomata": "leiomyoma",
}
_PLURAL = (
    (re.compile(r"(?<=[^aeiou])ies$"), "y"),
    (re.compile(r"(ss|us|x|ch|sh|z)es$"), r"\1"),
    (re.compile(r"(?<=[aeoy])ses$"), "sis"),
    (re.compile(r"ae$"), "a"),
    (re.compile(r"(?<=[^aeiou]i)i$|(?<=[bcdghklmnprstv])i$"), "us"),
    (re.compile(r"(?<=[^sui])s$"), ""),
)
_SPELLING = (
    (re.compile(r"ae|oe"), "e"),
    (re.compile(r"our$"), "or"),
    (re.compile(r"tre$"), "ter"),
    (re.compile(r"is(e|ed|ing|ation)$"), r"iz\1"),
    (re.compile(r"ll(ed|ing)$"), r"l\1"),
)


@dataclass(frozen=True, slots=True)
class Token:
    """A word or a mark.

    Attributes:
        text: As it stands.
        form: The form that is compared.
        start: Its first character.
        end: The character after its last.
    """

    text: str
    form: str
    start: int
    end: int

    @property
    def is_word(self) -> bool:
        """Whether it is no mark."""
        return self.text[0].isalnum()


def tokens(text: str) -> tuple[Token, ...]:
    """The words and marks of a text, in order; a hyphen parts words, and a possessive is part of its word."""
    return tuple(Token(found[0], form(found[0]), *found.span()) for found in _TOKEN.finditer(text))


@lru_cache(maxsize=65_536)
def form(word: str) -> str:
    """The form of one word that is compared; that of a form is itself."""
    small = _POSSESSIVE.sub("", word.lower())
    while (next_one := _once(small)) != small:
        small = next_one
    return small


def _once(small: str) -> str:
    if small in _IRREGULAR:
        return _IRREGULAR[small]
    if len(small) < _SHORTEST_RULED or not small.isalpha():
        return small
    for pattern, singular in _PLURAL:
        ruled, changed = pattern.subn(singular, small)
        if changed:
            small = ruled
            break
    for pattern, spelt in _SPELLING:
        small = pattern.sub(spelt, small)
    return small


def one_less(word: str) -> Iterator[str]:
    """A word with each of its letters left out once: two words share one of these where a single edit parts them."""
    yield word
    for place in range(len(word)):
        yield word[:place] + word[place + 1 :]


def is_one_edit(left: str, right: str) -> bool:
    """Whether one letter is added, lost, another, or changed places with its neighbour (Damerau, 1964)."""
    if left == right or abs(len(left) - len(right)) > 1:
        return False
    head = next((at for at, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))
    one, other = left[head:], right[head:]
    if len(one) == len(other):
        return one[1:] == other[1:] or (one[:2] == other[1::-1] and one[2:] == other[2:])
    longer, shorter = (one, other) if len(one) > len(other) else (other, one)
    return longer[1:] == shorter
