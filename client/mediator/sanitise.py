"""Words in one plain form before anybody reads them, with what was changed said.

The form is Unicode's NFKC without what is not seen: control and format characters (zero width, bidirectional marks,
soft hyphens, tags), private and unassigned ones, and marks that still combine after composition. Letters of other
scripts that look like Latin ones become those, in a word that mixes scripts or holds nothing but such letters (the
skeletons of Unicode Technical Standard 39, for the letters in `look_alikes.csv` alone). White space is one blank.

All that follows, spans of plans too, counts the characters of this form.
"""

from __future__ import annotations

import csv
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib import resources

from common.errors import PlanError

MOST_CHARACTERS = 2000
"""Of the words, before and after; a long query has 200."""

_UNSEEN = frozenset({"Cc", "Cf", "Co", "Cn", "Cs"})
_COMBINING = frozenset({"Mn", "Me"})
_LEAST_LOOK_ALIKES = 2
"""Letters of a word that is wholly of look-alikes; a single Greek letter is more likely meant."""

_FUNCTION_WORDS = {
    "English": "the of with and without no not in for on or similar cases patient show find after who is has",
    "German": "der die das und mit ohne nicht kein keine ein eine bei für nach von im ist patienten zeige alle",
    "French": "le la les des du avec sans et pas une un chez dans pour après est patient montrez tous",
    "Spanish": "el la los las del con sin y una un en para después es pacientes muestra todos",
    "Italian": "il lo gli della con senza e una un nel per dopo che di pazienti mostra tutti",
    "Portuguese": "o os as da do com sem e uma um em para depois é pacientes mostre todos",
    "Dutch": "de het een en met zonder geen niet bij voor na van patiënten toon alle",
}
_LEAST_HITS = 2
"""Function words of another language, more than of English, before it is named."""


@dataclass(frozen=True, kw_only=True)
class Sanitised:
    """Words in their plain form.

    Attributes:
        text: The words.
        changes: What was changed, in words, none of them the query's.
        language: What they seem to be written in; English where nothing speaks against it.
    """

    text: str
    changes: tuple[str, ...]
    language: str


def sanitise(query: str) -> Sanitised:
    """The plain form of a query; that of a plain form is itself.

    Raises:
        PlanError: The words are too many.
    """
    _check_length(query)
    composed = unicodedata.normalize("NFKC", query)
    _check_length(composed)
    seen = _without_unseen(composed)
    latin = " ".join(_latin(word) for word in seen.split())
    # What is left out may bring letters together that compose, and a look-alike's mark its letter.
    text = latin if latin == composed else sanitise(latin).text
    told = (
        (composed != query, "characters were replaced by their plain form"),
        (len(seen) != len(composed), "characters that are not seen were left out"),
        (latin != " ".join(seen.split()), "letters that look like Latin ones were replaced by those"),
    )
    return Sanitised(text=text, changes=tuple(words for said, words in told if said), language=_language(text))


def _check_length(text: str) -> None:
    if len(text) > MOST_CHARACTERS:
        raise PlanError(f"the query has more than {MOST_CHARACTERS:,} characters; say it in fewer words")


def _without_unseen(text: str) -> str:
    kept = []
    for character in text:
        category = unicodedata.category(character)
        if character.isspace():
            kept.append(" ")
        elif category not in _UNSEEN and category not in _COMBINING:
            kept.append(character)
    return "".join(kept)


def _latin(word: str) -> str:
    """A word with Latin letters for those that look like them, where it mixes scripts or has no others."""
    alike = _look_alikes()
    letters = [character for character in word if character.isalpha()]
    others = [character for character in letters if not _is_latin(character)]
    mixed = len(others) < len(letters)
    whole = len(letters) >= _LEAST_LOOK_ALIKES and all(character in alike for character in letters)
    if not others or not (mixed or whole):
        return word
    return "".join(alike.get(character, character) for character in word)


def _is_latin(character: str) -> bool:
    return character.isascii() or "LATIN" in unicodedata.name(character, "")


@cache
def _look_alikes() -> dict[str, str]:
    text = (resources.files("client.mediator") / "look_alikes.csv").read_text(encoding="utf-8")
    return {row["character"]: row["latin"] for row in csv.DictReader(text.splitlines())}


def _language(text: str) -> str:
    """A guess: the script of most letters, and among Latin ones the language whose function words are most."""
    letters = [character for character in text if character.isalpha()]
    others = [unicodedata.name(character, "?").split()[0].title() for character in letters if not _is_latin(character)]
    if 2 * len(others) > len(letters):
        return max(sorted(set(others)), key=others.count)
    words = text.lower().split()
    hits = {name: sum(word in known.split() for word in words) for name, known in _FUNCTION_WORDS.items()}
    best = max(hits, key=lambda name: hits[name])
    return best if hits[best] >= max(_LEAST_HITS, hits["English"] + 1) else "English"
