"""Words that say more of a concept, and kinds of image: side, severity, change against before, modality.

The values are those of DICOM's context groups (PS3.16, CID 244 for sides, 6130 for severity, 6134 for change) as a plan
writes them down, and for a modality the code that stands in images (CID 29; a plain film is CR or DX).
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from common.terminology.coded import Coded
from common.terminology.words import Token, form, tokens

MODALITIES = {
    "CR": "Computed Radiography",
    "CT": "Computed Tomography",
    "DX": "Digital Radiography",
    "MG": "Mammography",
    "MR": "Magnetic Resonance",
    "NM": "Nuclear Medicine",
    "PT": "Positron emission tomography",
    "RF": "Radiofluoroscopy",
    "US": "Ultrasound",
    "XA": "X-Ray Angiography",
}
"""Codes of CID 29 with their meanings, for the kinds of image that the table names."""


_PRONOUN = ("us",)
"""A kind of image in capitals alone: "give us cases" asks for no ultrasound."""


@dataclass(frozen=True, slots=True)
class Modifier:
    """One of them, as it stands in words.

    Attributes:
        kind: "laterality", "severity", "change" or "modality".
        values: What it says; a modality may have several, any of which will do.
        first: Number of its first token.
        last: Number after its last.
    """

    kind: str
    values: tuple[str, ...]
    first: int
    last: int


def modality(code: str) -> Coded:
    """A kind of image as a concept."""
    return Coded("DCM", code, MODALITIES[code])


def modifiers(words: Sequence[Token], *, taken: Sequence[tuple[int, int]] = ()) -> tuple[Modifier, ...]:
    """The modifiers in words, the longest first, none inside a run that is taken."""
    blocked = {number for first, last in taken for number in range(first, last)}
    table, most = _table()
    found, at = [], 0
    while at < len(words):
        for last in range(min(len(words), at + most), at, -1):
            run = tuple(token.form for token in words[at:last] if token.text != "-")
            if run == _PRONOUN and words[at].text != "US":
                continue
            if run in table and words[last - 1].is_word and blocked.isdisjoint(range(at, last)):
                found.append(Modifier(*table[run], at, last))
                at = last
                break
        else:
            at += 1
    return tuple(found)


@cache
def _table() -> tuple[dict[tuple[str, ...], tuple[str, tuple[str, ...]]], int]:
    text = (resources.files("common.terminology") / "modifiers.csv").read_text(encoding="utf-8")
    table = {
        tuple(token.form for token in tokens(row["words"])): (row["kind"], tuple(row["value"].split("|")))
        for row in csv.DictReader(text.splitlines())
    }
    return table, max(map(len, table)) + 2


def modifier_words() -> frozenset[str]:
    """All words of the table: none of them is a misspelling of a concept's."""
    return frozenset(form(word) for run in _table()[0] for word in run)
