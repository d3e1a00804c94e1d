"""Queries written from the findings that public studies are labelled with, and what answers them.

A label is put into words as it stands ("Pleural_Effusion": "pleural effusion"), a second query of it denies another
label ("pleural effusion, no pneumothorax"), and one of each patient wants two ("pleural effusion and mass"). A study
answers where its labels hold all that is wanted, and not what is denied. Whoever labelled the studies said so, not the
rules that read reports: what these get wrong counts against them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from common.seeds import numpy_generator
from common.types import StudyRecord

_BETWEEN_WORDS = re.compile(r"[_\s]+")


@dataclass(frozen=True, kw_only=True)
class PublicQuery:
    """A query.

    Attributes:
        patient: Whose findings it was written from; this patient's own studies are no answers.
        wanted: Label that an answer holds.
        beside: Another that it holds too; "" where one is wanted.
        excluded: Label that it does not hold; "" denies none.
    """

    patient: str
    wanted: str
    beside: str = ""
    excluded: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether it wants one label and denies none."""
        return not self.beside and not self.excluded

    @property
    def text(self) -> str:
        """The words."""
        beside = f" and {_in_words(self.beside)}" if self.beside else ""
        denied = f", no {_in_words(self.excluded)}" if self.excluded else ""
        return f"{_in_words(self.wanted)}{beside}{denied}"

    def is_answered_by(self, findings: Collection[str]) -> bool:
        """Whether a study with these labels is relevant."""
        return {self.wanted, self.beside or self.wanted} <= set(findings) and self.excluded not in findings


def public_queries(records: Sequence[StudyRecord], *, seed: int) -> list[PublicQuery]:
    """For each label of each patient a query, one that denies what some other study shows beside it, and one of two.

    Args:
        records: Public studies.
        seed: Draws what is denied and what goes together; the same studies and seed give the same queries, in whatever
            order they come.
    """
    generator = numpy_generator(seed, "relevance", "plan", "queries")
    findings_of: dict[str, set[str]] = {}
    beside: dict[str, set[str]] = {}
    for record in records:
        findings_of.setdefault(record.patient_id, set()).update(record.findings)
        for label in record.findings:
            beside.setdefault(label, set()).update(record.findings)
    made = []
    for patient, findings in sorted(findings_of.items()):
        for wanted in sorted(findings):
            made.append(PublicQuery(patient=patient, wanted=wanted))
            others = sorted(beside[wanted] - findings)
            if others:
                excluded = others[int(generator.integers(len(others)))]
                made.append(PublicQuery(patient=patient, wanted=wanted, excluded=excluded))
        if len(findings) > 1:
            first, second = (sorted(findings)[at] for at in generator.permutation(len(findings))[:2])
            made.append(PublicQuery(patient=patient, wanted=first, beside=second))
    return made


def _in_words(label: str) -> str:
    return _BETWEEN_WORDS.sub(" ", label).strip().lower()
