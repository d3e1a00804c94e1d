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

NOT_NAMED = 0.5
"""Share of the code's bits by which a study is taken away for a part that is sought and that its report does not name:
as far as codes lie apart that have nothing to do with each other, so that no code, however near, stands for what a
report names (ADR 0059). So a study that names all that is sought stands where its code does, whatever was asked."""

CONTRADICTED = 0.6
"""Share for a part that is contradicted, beside that."""

RULED_OUT = 0.05
"""Share by which a study is brought nearer because what is excluded is denied, or sex, age, day or kind of image are
as asked: little, for none of them brings what is wanted."""


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
        away: Share of the code's bits by which it takes the study away; it brings it nearer where it is negative.
    """

    verdict: Verdict
    words: str
    away: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Validated:
    """What all rules say of a study.

    Attributes:
        judged: One for each part of the plan.
    """

    judged: tuple[Judged, ...]

    @property
    def away(self) -> float:
        """Share of the code's bits by which all of them take the study away."""
        return sum(one.away for one in self.judged)


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
    judged = [_wanted(asked, study) for asked in _sought(plan)]
    # A kind of image that is excluded is judged by the record; no report names it as a finding.
    judged += [_excluded(asked, study) for asked in plan.excluded if asked.concept.scheme != "DCM"]
    return Validated(judged=(*judged, *_circumstances(plan, study.record)))


def unread(plan: Plan) -> float:
    """How far a study is taken away whose report was not read: as one that is silent of all that is sought."""
    return NOT_NAMED * sum(asked.weight for asked in _sought(plan))


def seeks(plan: Plan) -> bool:
    """Whether a plan seeks something that a report can name."""
    return any(_sought(plan))


def _sought(plan: Plan) -> tuple[Asked, ...]:
    return (*plan.wanted, *plan.anatomy)


def _wanted(asked: Asked, study: ReadStudy) -> Judged:
    name, not_named = asked.concept.meaning, NOT_NAMED * asked.weight
    contradicted = not_named + CONTRADICTED * asked.weight
    found, present = study.names(asked)
    if not found:
        return Judged(verdict=Verdict.SILENT, words=f"{name}: not named", away=not_named)
    if not present:
        return Judged(verdict=Verdict.CONTRADICTS, words=f"{name}: denied", away=contradicted)
    if study.is_on_other_side(asked, present):
        return Judged(verdict=Verdict.CONTRADICTS, words=f"{name}: on the other side", away=contradicted)
    doubted = all(study.report.cues_on(mention, Category.UNCERTAIN) for mention in present)
    if doubted and not asked.uncertain:
        return Judged(verdict=Verdict.FITS, words=f"{name}: possible", away=not_named / 2)
    return Judged(verdict=Verdict.FITS, words=f"{name}: named")


def _excluded(asked: Asked, study: ReadStudy) -> Judged:
    name = asked.concept.meaning
    found, present = study.names(asked)
    if not found:
        return Judged(verdict=Verdict.SILENT, words=f"{name}, which is excluded: not named")
    if not present:
        return Judged(verdict=Verdict.FITS, words=f"{name}, which is excluded: denied", away=-RULED_OUT)
    if study.is_on_other_side(asked, present):
        words = f"{name}, which is excluded: on the other side"
        return Judged(verdict=Verdict.FITS, words=words, away=-RULED_OUT)
    return Judged(verdict=Verdict.CONTRADICTS, words=f"{name}, which is excluded: named", away=CONTRADICTED)


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
        return Judged(verdict=Verdict.FITS, words=f"{what}: {value}", away=-RULED_OUT)
    return Judged(verdict=Verdict.CONTRADICTS, words=f"{what}: {value}, which was not asked for", away=CONTRADICTED)
