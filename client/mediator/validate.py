"""A study of the own hospital held against a plan, rule by rule, in words: what its report says of what was asked.

A report that does not name a finding does not deny it: it is silent, which speaks neither for nor against. What is
denied, excluded and there, on the other side, or of another kind, sex, age or day, contradicts the plan. A report of
another person ("family history of") says nothing of this one.

A report is read by the rules that queries are read by (`reading.py`), and by nothing else: what it says steers nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from client.mediator.plan import Asked, Plan
from client.mediator.reading import Mention, Reading, read
from common.terminology.concepts import concepts
from common.terminology.scope import Category
from common.types import StudyRecord

MOST_CHARACTERS = 20_000
"""Of a report that is read; a long one has 5,000."""

RULED_OUT = 0.1
"""How much it counts that what is excluded is not there: little, for it does not bring what is wanted (ADR 0059)."""


class Verdict(StrEnum):
    """What a study is to a part of a plan."""

    FITS = "fits"
    SILENT = "silent"
    CONTRADICTS = "contradicts"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What one rule says of a study.

    Attributes:
        verdict: Whether the study fits.
        words: Why, in words; none of them is the report's.
        weight: How much it counts, up to 1.
    """

    verdict: Verdict
    words: str
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Validated:
    """What all rules say of a study.

    Attributes:
        judged: One for each part of the plan.
    """

    judged: tuple[Judged, ...]

    def weight(self, verdict: Verdict) -> float:
        """How much of the plan it fits, contradicts, or is silent of."""
        return sum(one.weight for one in self.judged if one.verdict is verdict)


@dataclass(frozen=True, kw_only=True)
class ReadStudy:
    """A study whose report was read.

    Attributes:
        record: What is known of it.
        report: The report, taken apart.
        said: What it names of its patient.
    """

    record: StudyRecord
    report: Reading
    said: tuple[Mention, ...]

    @classmethod
    def of(cls, record: StudyRecord) -> ReadStudy:
        """Read a study's report."""
        report = read(record.report[:MOST_CHARACTERS])
        said = tuple(mention for mention in report.mentions if not report.cues_on(mention, Category.OTHER_PERSON))
        return cls(record=record, report=report, said=said)

    def names(self, asked: Asked) -> tuple[list[Mention], list[Mention]]:
        """Where it names a concept or a narrower one, denied or not; and where it does not deny it."""
        found = [mention for mention in self.said if _is(mention, asked)]
        return found, [mention for mention in found if not self.report.cues_on(mention, Category.NEGATED)]

    def is_on_other_side(self, asked: Asked, present: Sequence[Mention]) -> bool:
        """Whether each of some mentions is said to be on a side, and none on the one that was asked."""
        sides = [_sides(self.report, mention) for mention in present]
        return bool(asked.laterality) and all(sides) and not any(_has_side(asked.laterality, one) for one in sides)


def validate(plan: Plan, study: ReadStudy) -> Validated:
    """Hold a study against a plan."""
    judged = [_wanted(asked, study) for asked in (*plan.wanted, *plan.anatomy)]
    # A kind of image that is excluded is judged by the record; no report names it as a finding.
    judged += [_excluded(asked, study) for asked in plan.excluded if asked.concept.scheme != "DCM"]
    return Validated(judged=(*judged, *_circumstances(plan, study.record)))


def _wanted(asked: Asked, study: ReadStudy) -> Judged:
    name = asked.concept.meaning
    found, present = study.names(asked)
    if not found:
        return Judged(verdict=Verdict.SILENT, words=f"{name}: not named", weight=asked.weight)
    if not present:
        return Judged(verdict=Verdict.CONTRADICTS, words=f"{name}: denied", weight=asked.weight)
    if study.is_on_other_side(asked, present):
        return Judged(verdict=Verdict.CONTRADICTS, words=f"{name}: on the other side", weight=asked.weight)
    doubted = all(study.report.cues_on(mention, Category.UNCERTAIN) for mention in present)
    if doubted and not asked.uncertain:
        return Judged(verdict=Verdict.FITS, words=f"{name}: possible", weight=asked.weight / 2)
    return Judged(verdict=Verdict.FITS, words=f"{name}: named", weight=asked.weight)


def _excluded(asked: Asked, study: ReadStudy) -> Judged:
    name = asked.concept.meaning
    found, present = study.names(asked)
    if not found:
        return Judged(verdict=Verdict.SILENT, words=f"{name}, which is excluded: not named")
    if not present:
        return Judged(verdict=Verdict.FITS, words=f"{name}, which is excluded: denied", weight=RULED_OUT)
    if study.is_on_other_side(asked, present):
        words = f"{name}, which is excluded: on the other side"
        return Judged(verdict=Verdict.FITS, words=words, weight=RULED_OUT)
    return Judged(verdict=Verdict.CONTRADICTS, words=f"{name}, which is excluded: named")


def _is(mention: Mention, asked: Asked) -> bool:
    return mention.coded == asked.concept or concepts().is_narrower(mention.coded, asked.concept)


def _sides(report: Reading, mention: Mention) -> frozenset[str]:
    """The sides that a report says of a mention."""
    said = {one.values[0] for one in report.attached().get(mention, []) if one.kind == "laterality"}
    return frozenset(said | ({mention.laterality} - {""}))


def _has_side(asked: str, sides: frozenset[str]) -> bool:
    both = "bilateral" in sides or {"left", "right"} <= sides
    return both if asked == "bilateral" else both or asked in sides


def _circumstances(plan: Plan, record: StudyRecord) -> Iterator[Judged]:
    denied = {one.concept.code for one in plan.excluded if one.concept.scheme == "DCM"}
    if plan.modality or denied:
        kinds = {one.code for one in plan.modality}
        known = record.modality
        fits = known is not None and known not in denied and (not kinds or known in kinds)
        yield _known("kind of image", known, fits=fits)
    if plan.sex is not None:
        yield _known("sex", record.sex, fits=record.sex == plan.sex.value)
    if plan.age is not None:
        least, most = plan.age.least, plan.age.most
        known_age = record.age
        fits = known_age is not None and (least or 0) <= known_age <= (known_age if most is None else most)
        yield _known("age", None if known_age is None else f"{known_age} years", fits=fits)
    if plan.dates is not None:
        first, last, day = plan.dates.first, plan.dates.last, record.date
        fits = day is not None and (first is None or day >= first) and (last is None or day <= last)
        yield _known("day", None if day is None else day.isoformat(), fits=fits)


def _known(what: str, value: str | None, *, fits: bool) -> Judged:
    if value is None:
        return Judged(verdict=Verdict.SILENT, words=f"{what}: not recorded")
    if fits:
        return Judged(verdict=Verdict.FITS, words=f"{what}: {value}")
    return Judged(verdict=Verdict.CONTRADICTS, words=f"{what}: {value}, which was not asked for")
