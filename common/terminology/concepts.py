"""The concepts: what DICOM's context groups hold of SNOMED CT and RadLex, and the project's own beside them.

`dicom_concepts.csv` is made from what pydicom ships of DICOM PS3.16 (`tests/common/terminology/shipped_concepts.py`
makes it, and a test holds it against the pydicom that is installed). It is strong on anatomy and on the heart, and
has neither pneumonia nor fracture; so `own_concepts.csv` adds common findings and operations of radiology under the
private scheme 99WARDROUND, more names for DICOM's concepts (SCT), and which of them is narrower than which.

Which is narrower is read, in this order, off the own table, off a few context groups whose members are parts of one
whole, and off the head word: "left lower lobe pneumonia" is a pneumonia. English puts the head last; what a prefix
turns into something else ("pseudo aneurysm") is not narrower.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from common.terminology.coded import Coded
from common.terminology.words import tokens

GROUPS = ("finding", "procedure", "device", "anatomy")
"""What a concept may be; where a name belongs to two concepts, the earlier group has it."""

Form = tuple[str, ...]
"""Words of a name as they are compared."""

EMPTY = frozenset({"the", "a", "an"})
"""Words that never count in a name."""

_TAG = re.compile(r"\s*[(\[][^)\]]*[)\]]\s*")
_STRUCTURE = re.compile(r"(?i)^(?:structure|entire|part) of |^(?:structure|entire) | (?:structure|finding|part)$")
_NOT_THE_HEADS = frozenset({"pseudo", "non", "anti"})
_CHAMBERS = frozenset({"ventricle", "atrium", "heart", "atrial", "ventricular", "coronary", "main", "anterior"})
"""Words after "left" or "right" that name another part, not the same part on a side."""

_WHOLE_OF = {6170: "39607008", 6171: "39607008", 7170: "10200004", 3015: "41801008", 3717: "87878005", 7140: "12738006"}
"""Context groups of parts: lobes and zones of the lung, segments of the liver, coronary arteries, the left ventricle's
wall, structures of the brain; with the whole's code in SNOMED CT."""


@dataclass(frozen=True, kw_only=True)
class Concept:
    """One concept.

    Attributes:
        coded: Its code.
        group: One of `GROUPS`.
        forms: All its names.
        broader: Concepts that it is narrower than by the tables, as (scheme, code).
    """

    coded: Coded
    group: str
    forms: tuple[Form, ...]
    broader: frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Concepts:
    """All concepts.

    Attributes:
        by_code: By (scheme, code).
        by_form: Which one a name means.
    """

    by_code: Mapping[tuple[str, str], Concept]
    by_form: Mapping[Form, Concept]

    def known(self, coded: Coded) -> bool:
        """Whether there is a concept of this code and this meaning."""
        found = self.by_code.get((coded.scheme, coded.code))
        return found is not None and found.coded == coded

    def is_narrower(self, narrow: Coded, broad: Coded) -> bool:
        """Whether one concept is another one, or a kind or part of it; of unknown ones it is not."""
        one, other = (self.by_code.get((coded.scheme, coded.code)) for coded in (narrow, broad))
        if one is None or other is None:
            return False
        return one == other or self._by_tables(one, other) or _by_head(one, other)

    def _by_tables(self, narrow: Concept, broad: Concept) -> bool:
        seen, next_ones = set(), set(narrow.broader)
        while next_ones:
            seen |= next_ones
            above = (self.by_code[key].broader for key in next_ones if key in self.by_code)
            next_ones = {key for keys in above for key in keys} - seen
        return (broad.coded.scheme, broad.coded.code) in seen


def _by_head(narrow: Concept, broad: Concept) -> bool:
    if narrow.group != broad.group:
        return False
    name = narrow.forms[0]
    return any(
        0 < len(head) < len(name) and name[-len(head) :] == head and _NOT_THE_HEADS.isdisjoint(name)
        for head in broad.forms
    )


@cache
def concepts() -> Concepts:
    """The concepts of the package's tables."""
    gathered: dict[tuple[str, str], dict[str, list[str]]] = {}
    own = list(_rows("own_concepts.csv"))
    for row in [*own, *_rows("dicom_concepts.csv")]:
        kept = gathered.setdefault((row["scheme"], row["code"]), {"group": [], "names": [], "broader": []})
        kept["group"].append(row["group"])
        # DICOM's own name comes first and gives the meaning; the own table's group counts, for it was chosen by hand.
        kept["names"] = [*row["names"].split("|"), *kept["names"]]
        kept["broader"] += row.get("broader", "").split()
        kept["broader"] += [
            f"SCT:{_WHOLE_OF[cid]}" for cid in map(int, row.get("context_groups", "").split()) if cid in _WHOLE_OF
        ]
    by_code = {key: _concept(key, kept) for key, kept in gathered.items()}
    return Concepts(by_code=by_code, by_form=_by_form(by_code, [(row["scheme"], row["code"]) for row in own]))


def known_words() -> frozenset[str]:
    """Words that pydicom's tables use anywhere: none of them is a misspelling of another."""
    return frozenset(row["word"] for row in _rows("dicom_words.csv"))


def _concept(key: tuple[str, str], kept: Mapping[str, list[str]]) -> Concept:
    scheme, code = key
    return Concept(
        coded=Coded(scheme, code, _meaning(kept["names"])),
        group=kept["group"][0],
        forms=tuple(dict.fromkeys(form for name in kept["names"] for form in _forms(name))),
        broader=frozenset((above.partition(":")[0], above.partition(":")[2]) for above in kept["broader"]) - {key},
    )


def _meaning(names: list[str]) -> str:
    """The name that SNOMED CT's tagged one repeats ("Kidney structure (body structure)" has "Kidney"), or the first."""
    plain = [_STRUCTURE.sub("", _TAG.sub(" ", name).strip()).strip() for name in names]
    small = [name.lower() for name in plain]
    return next((name for name, low in zip(plain, small, strict=True) if small.count(low) > 1), plain[0])


def _by_form(by_code: Mapping[tuple[str, str], Concept], own: list[tuple[str, str]]) -> dict[Form, Concept]:
    """Names of the own table first, as they were chosen for what clinicians write; then by group."""
    chosen = dict.fromkeys(own)
    order = sorted(by_code, key=lambda key: (key not in chosen, GROUPS.index(by_code[key].group)))
    found: dict[Form, Concept] = {}
    for key in order:
        for form in by_code[key].forms:
            found.setdefault(form, by_code[key])
    sided = [
        form
        for form in found
        if form[0] in {"left", "right", "bilateral"} and form[1:] in found and form[1] not in _CHAMBERS
    ]
    return {form: concept for form, concept in found.items() if form not in set(sided)}


def _forms(name: str) -> Iterator[Form]:
    """The ways a name is written: without SNOMED CT's tags, turned at a comma, and turned at "of"."""
    plain = _STRUCTURE.sub("", _TAG.sub(" ", name).strip())
    if plain.count(",") == 1:
        last, first = plain.split(",")
        plain = f"{first} {last}"
    words = tuple(token.form for token in tokens(plain) if token.is_word and token.form not in EMPTY)
    if words:
        yield words
        if "of" in words[1:-1]:
            at = words.index("of", 1)
            yield words[at + 1 :] + words[:at]


def _rows(name: str) -> Iterator[dict[str, str]]:
    text = (resources.files("common.terminology") / name).read_text(encoding="utf-8")
    return csv.DictReader(text.splitlines())
