"""Where in the body a concept lies, of which sex it is, and which side it has: only where its names say so.

`body.csv` has one row a word or a few ("mitral", "cervical spine"); one that ends in a star stands for all words that
begin so ("prostat*"). A row says the large regions that what is called so can reach, the sex that has it, and the side
of what is not there twice. A concept is of the regions that the longest rows in its names say, all of them together,
and only if each of its names says one: "perforation" is a name of bowel perforation as well, so that one may lie
anywhere. What spreads or travels, a tumour or an embolus, may lie anywhere too, and so may what no row knows.

The regions are of the project's own choosing, and large: what lies beside each other is not told apart.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from common.terminology.coded import Coded
from common.terminology.concepts import Form, concepts
from common.terminology.words import tokens

REGIONS = frozenset({"head", "neck", "chest", "belly", "spine", "arm", "leg"})
"""Belly is abdomen and pelvis."""

_SPREADS = frozenset(
    {"cancer", "carcinoma", "adenocarcinoma", "tumor", "neoplasm", "malignancy", "metastasis", "lymphoma", "sarcoma"}
    | {"leukemia", "melanoma", "blastoma", "nephroblastoma", "embolism", "embolus", "thromboembolism", "implant"}
)
"""Words of names of what may be found far from where it comes from."""


@dataclass(frozen=True, kw_only=True)
class Body:
    """What the names of a concept say of the body.

    Attributes:
        regions: Those of `REGIONS` that it can reach; none where that is not known.
        sex: "F" or "M" where only patients of this sex have it, or "".
        side: "left" or "right" where it is on this side alone, "one" where it has no side, or "" where it is paired or
            not known.
    """

    regions: frozenset[str] = frozenset()
    sex: str = ""
    side: str = ""


@cache
def body_of(coded: Coded) -> Body:
    """What is known of a concept; nothing of an unknown one."""
    concept = concepts().by_code.get((coded.scheme, coded.code))
    if concept is None:
        return Body()
    said = [tuple(_rows_in(form)) for form in concept.forms]
    regions = [frozenset().union(*(row.regions for row in rows)) for rows in said]
    sexes = {row.sex for rows in said for row in rows if row.sex}
    has_sex = len(sexes) == 1 and all(any(row.sex for row in rows) for rows in said)
    spreads = any(not _SPREADS.isdisjoint(form) for form in concept.forms)
    table, _ = _table()
    return Body(
        regions=frozenset() if spreads or not all(regions) else frozenset().union(*regions),
        sex=next(iter(sexes)) if has_sex else "",
        side=next((table[form].side for form in concept.forms if form in table and table[form].side), ""),
    )


def _rows_in(name: Form) -> Iterator[Body]:
    """The rows in a name, the longest first from the left; whole words before beginnings."""
    table, beginnings = _table()
    at = 0
    while at < len(name):
        for last in range(len(name), at, -1):
            if name[at:last] in table:
                yield table[name[at:last]]
                at = last
                break
        else:
            yield from (row for beginning, row in beginnings.items() if name[at].startswith(beginning))
            at += 1


@cache
def _table() -> tuple[Mapping[Form, Body], Mapping[str, Body]]:
    """Rows of whole words, and rows of beginnings."""
    text = (resources.files("common.terminology") / "body.csv").read_text(encoding="utf-8")
    whole: dict[Form, Body] = {}
    beginnings: dict[str, Body] = {}
    for row in csv.DictReader(text.splitlines()):
        body = Body(regions=frozenset(row["lies"].split()), sex=row["sex"], side=row["side"])
        if row["words"].endswith("*"):
            beginnings[row["words"].removesuffix("*")] = body
        else:
            whole[tuple(token.form for token in tokens(row["words"]))] = body
    return whole, beginnings
