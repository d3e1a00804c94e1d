"""Whether plans find more than words do, on the real pack: queries that negate, abbreviate, under-specify, and plain.

A case's concepts are read from its findings and its diagnosis; what is searched are its captions. A caption is
relevant to a query whose case holds every concept that the query wants (or a narrower one) and none that it excludes.
Captions of the case that the query was made of are left out. Codes are the signs of whitened principal components of
MiniLM's features, fitted to the split's public captions: a public start, without training.

The same terminology reads cases, captions and queries: what it does not know is missing on all sides, so that the
figures say how rules help where the words are known. They are no measure of the terminology.

Shapes: Q queries, G captions, K bits.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from client.mediator.lexical import Lexical
from client.mediator.reading import read
from client.mediator.rerank import rank_of
from client.mediator.spoken import spoken
from client.mediator.validate import ReadStudy, validate
from common.errors import ConfigError
from common.retrieval.metrics import retrieval_metrics
from common.seeds import numpy_generator
from common.terminology.acronyms import acronym_words, acronyms
from common.terminology.coded import Coded
from common.terminology.concepts import concepts
from common.terminology.scope import Category
from common.terminology.words import tokens
from common.types import StudyRecord

KINDS = ("plain", "negating", "abbreviating", "under-specified")
WAYS = ("words", "plan's text", "plan")
"""What is searched with: the words as they stand; the words of the plan; these, and the order by the rules."""
SPLITS = (1, 2, 3, 4, 5)
BIT_WIDTH = 128
_MOST_QUERIES = 150
"""Of a kind and split."""

Embed = Callable[[Sequence[str]], NDArray[np.float32]]


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


def measure(
    cases: Mapping[str, Case], public: frozenset[str], test: frozenset[str], embed: Embed, *, seed: int
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Average precision of each query of a split, by kind and way."""
    gallery = [ReadStudy.of(record) for name in sorted(test) for record in cases[name].records]
    patients = [study.record.patient_id for study in gallery]
    fit = _whitened(embed([record.report for name in sorted(public) for record in cases[name].records]))
    codes_GK = fit(embed([study.record.report for study in gallery]))
    found: dict[str, dict[str, NDArray[np.float64]]] = {}
    asked = queries_of([cases[name] for name in sorted(test)], seed=seed)
    for kind in KINDS:
        of_kind, relevant = [], []
        for one in asked:
            if one.kind == kind:
                fitting = {name for name in test if name != one.case and one.fits(cases[name])}
                row = np.array([patient in fitting for patient in patients])
                if row.any():
                    of_kind.append(one)
                    relevant.append(row)
        found[kind] = _precisions(of_kind, np.array(relevant), gallery, codes_GK, lambda texts: fit(embed(texts)))
    return found


def _precisions(
    asked: Sequence[Asked],
    relevant_QG: NDArray[np.bool_],
    gallery: Sequence[ReadStudy],
    codes_GK: NDArray[np.int32],
    code: Callable[[Sequence[str]], NDArray[np.int32]],
) -> dict[str, NDArray[np.float64]]:
    if not asked:
        return {way: np.empty(0) for way in WAYS}
    plans = [Lexical().propose(one.text) for one in asked]
    words_QG = _distances(code([one.text for one in asked]), codes_GK)
    text_QG = _distances(code([spoken(one.text, plan) for one, plan in zip(asked, plans, strict=True)]), codes_GK)
    ranks_QG = np.array(
        [
            [
                rank_of(int(distance), validate(plan, study), bit_width=BIT_WIDTH)
                for distance, study in zip(row, gallery, strict=True)
            ]
            for row, plan in zip(text_QG, plans, strict=True)
        ]
    )
    own_QG = np.array([[study.record.patient_id == one.case for study in gallery] for one in asked])
    return {
        way: retrieval_metrics(np.where(own_QG, -np.inf, -ranks), relevant_QG)["map"]
        for way, ranks in zip(WAYS, (words_QG, text_QG, ranks_QG), strict=True)
    }


def _whitened(public_ND: NDArray[np.float32]) -> Callable[[NDArray[np.float32]], NDArray[np.int32]]:
    """From features to bits: signs of whitened principal components of public ones."""
    centre_D = public_ND.mean(axis=0)
    _, _, axes = np.linalg.svd(public_ND - centre_D, full_matrices=False)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(BIT_WIDTH, BIT_WIDTH)))[0]
    axes_KD = axes[:BIT_WIDTH]
    spread_K = ((public_ND - centre_D) @ axes_KD.T).std(axis=0)
    return lambda features: ((((features - centre_D) @ axes_KD.T) / spread_K) @ turn > 0).astype(np.int32)


def _distances(codes_QK: NDArray[np.int32], codes_GK: NDArray[np.int32]) -> NDArray[np.float64]:
    differing: NDArray[np.float64] = (codes_QK[:, None] != codes_GK[None]).sum(axis=2).astype(np.float64)
    return differing
