"""Queries made of the cases of MedPix 2.0 by rule, and what answers them.

Some are plain; some negate, some abbreviate, some name less than they mean ("under-specified").

A case's concepts are read from its findings and its diagnosis; what is searched are its captions. A caption is
relevant to a query whose case holds every concept that the query wants (or a narrower one) and none that it excludes.

The same terminology reads cases, captions and queries: what it does not know is missing on all sides, so that figures
say how rules help where the words are known. They are no measure of the terminology.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from client.mediator.reading import read
from common.errors import ConfigError
from common.seeds import numpy_generator
from common.terminology.acronyms import acronym_words, acronyms
from common.terminology.coded import Coded
from common.terminology.concepts import concepts
from common.terminology.scope import Category
from common.terminology.words import tokens
from common.types import StudyRecord

KINDS = ("plain", "negating", "abbreviating", "under-specified")
SPLITS = (1, 2, 3, 4, 5)
_MOST_QUERIES = 150
"""Of a kind and split."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A case of the pack.

    Attributes:
        name: Its identifier.
        records: One for each distinct caption.
        concepts: What its findings and diagnosis name and do not deny, findings and parts of the body.
        findings: Those that are findings.
    """

    name: str
    records: tuple[StudyRecord, ...]
    concepts: frozenset[Coded]
    findings: tuple[Coded, ...]

    def holds(self, asked: Coded) -> bool:
        """Whether it holds a concept or a narrower one."""
        return any(one == asked or concepts().is_narrower(one, asked) for one in self.concepts)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A query with what it wants and excludes.

    Attributes:
        kind: One of `KINDS`.
        text: The words.
        case: The case that it was made of.
        wanted: Concepts that a relevant case holds.
        excluded: Concepts that it does not hold.
    """

    kind: str
    text: str
    case: str
    wanted: tuple[Coded, ...]
    excluded: tuple[Coded, ...] = ()

    def fits(self, case: Case) -> bool:
        """Whether a case is relevant."""
        return all(map(case.holds, self.wanted)) and not any(map(case.holds, self.excluded))


def read_cases(pack: Path) -> dict[str, Case]:
    """The cases of the pack, by identifier.

    Raises:
        ConfigError: The pack is not there.
    """
    rows: dict[str, list[dict[str, str]]] = {}
    for row in _rows(pack / "metadata.csv"):
        rows.setdefault(row["patient_id"], []).append(row)
    return {name: _case(name, of_case) for name, of_case in rows.items()}


def split_of(pack: Path, number: int) -> tuple[frozenset[str], frozenset[str]]:
    """The public and the test cases of a split."""
    group = {row["split_group"]: row[f"split_{number}"] for row in _rows(pack / "splits.csv")}
    of_case = {row["patient_id"]: group.get(row["split_group"]) for row in _rows(pack / "metadata.csv")}
    public, test = (
        frozenset(name for name, kind in of_case.items() if kind == wanted) for wanted in ("public", "test")
    )
    return public, test


def _rows(path: Path) -> Iterator[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name the folder of the pack") from error


def _case(name: str, rows: Sequence[Mapping[str, str]]) -> Case:
    report = read(". ".join(rows[0][field] for field in ("findings", "diagnosis")))
    said = [
        mention
        for mention in report.mentions
        if not report.cues_on(mention, Category.NEGATED) and not report.cues_on(mention, Category.OTHER_PERSON)
    ]
    captions = dict.fromkeys(row["text"] for row in rows if row["text"])
    return Case(
        name=name,
        records=tuple(
            StudyRecord(study_id=f"{name}-{at}", patient_id=name, report=one) for at, one in enumerate(captions)
        ),
        concepts=frozenset(mention.coded for mention in said),
        findings=tuple(sorted({mention.coded for mention in said if mention.group == "finding"})),
    )


def queries_of(cases: Sequence[Case], *, seed: int) -> list[Asked]:
    """Queries of each kind, made of cases by rule: which finding, part and denial is drawn by the seed."""
    generator = numpy_generator(seed, "mediation", "retrieval")
    made: dict[str, list[Asked]] = {kind: [] for kind in KINDS}
    for case in cases:
        for finding in case.findings:
            name = finding.meaning.lower()
            made["plain"].append(Asked(kind="plain", text=name, case=case.name, wanted=(finding,)))
            made["negating"] += _negating(finding, case, cases, generator)
            made["abbreviating"] += _abbreviating(finding, case)
            made["under-specified"] += _under_specified(finding, case)
    return [one for kind in KINDS for one in _some(made[kind], generator)]


def _some(asked: Sequence[Asked], generator: np.random.Generator) -> list[Asked]:
    distinct = list({(one.text, one.wanted, one.excluded): one for one in asked}.values())
    return [distinct[at] for at in sorted(generator.permutation(len(distinct))[:_MOST_QUERIES])]


def _negating(finding: Coded, case: Case, cases: Sequence[Case], generator: np.random.Generator) -> list[Asked]:
    """A finding without another that some of its cases have: what a code gets wrong."""
    beside = sorted({
        other
        for one in cases
        if one.holds(finding)
        for other in one.findings
        if not case.holds(other) and not concepts().is_narrower(finding, other)
    })  # fmt: skip
    if not beside:
        return []
    other = beside[int(generator.integers(len(beside)))]
    text = f"{finding.meaning.lower()}, no {other.meaning.lower()}"
    return [Asked(kind="negating", text=text, case=case.name, wanted=(finding,), excluded=(other,))]


def _abbreviating(finding: Coded, case: Case) -> list[Asked]:
    """A finding by its acronym, with a part of the body where the case names one."""
    places = sorted(one for one in case.concepts if concepts().by_code[one.scheme, one.code].group == "anatomy")
    made = []
    for short in sorted(_short_of(finding)):
        made.append(Asked(kind="abbreviating", text=short, case=case.name, wanted=(finding,)))
        for place in places[:1]:
            text = f"{short}, {place.meaning.lower()}"
            made.append(Asked(kind="abbreviating", text=text, case=case.name, wanted=(finding, place)))
    return made


def _short_of(concept: Coded) -> set[str]:
    return {
        word.upper()
        for word in acronym_words()
        for one in acronyms(tokens(word.upper()))
        if any(sense.coded == concept for sense in one.senses)
    }


def _under_specified(finding: Coded, case: Case) -> list[Asked]:
    """A broader name of a finding."""
    broader = sorted(
        one.coded
        for one in concepts().by_code.values()
        if one.coded != finding and one.group == "finding" and concepts().is_narrower(finding, one.coded)
    )
    return [
        Asked(kind="under-specified", text=one.meaning.lower(), case=case.name, wanted=(one,)) for one in broader[:1]
    ]
