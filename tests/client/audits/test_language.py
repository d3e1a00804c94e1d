"""Planted words are found in the group that they meet, and nowhere else; the clean twin is silent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from client.audits.contrasts import contrasts
from client.audits.interface import Audited, Verdict
from client.audits.language import audit_language
from client.audits.studies import AuditedStudies, Grouped
from client.audits.terms import read_terms
from tests.client.audits.cohorts import studies

TERMS = read_terms()


def subjects(audited: Audited) -> set[str]:
    return {finding.subject for finding in audited.found}


def with_races_exchanged(planted: AuditedStudies, seed: int) -> AuditedStudies:
    """The same reports, whose patients got each other's race: as many words, and no bias."""
    names = sorted({record.patient_id for record in planted.records})
    races = {record.patient_id: record.race for record in planted.records}
    other = dict(zip(names, np.random.default_rng(seed).permutation(names), strict=True))
    records = tuple(replace(record, race=races[other[record.patient_id]]) for record in planted.records)
    return replace(planted, records=records)


@lru_cache
def planted_audited() -> Audited:
    return audit_language(studies(1, "phrases"), TERMS)


def test_planted_words_are_found_in_their_group_alone() -> None:
    found = subjects(planted_audited())
    assert found == {"race Black: doubt", "race Black: blame", "race Black: stigma"}


def test_clean_twins_are_silent() -> None:
    """Without a word of the list, and with as many words and exchanged races."""
    planted = studies(1, "phrases")
    assert not audit_language(studies(1), TERMS).found
    assert not audit_language(with_races_exchanged(planted, 0), TERMS).found


def test_sentence_tells_shares_and_words_and_no_quotation() -> None:
    (doubt,) = (finding for finding in planted_audited().findings if finding.subject == "race Black: doubt")
    assert "of the reports of race Black" in doubt.sentence
    assert "quotation marks" in doubt.sentence
    assert "unbearable" not in doubt.sentence


def test_groups_of_few_patients_cannot_be_told() -> None:
    audited = audit_language(studies(1, "phrases", patients=12), TERMS)
    verdicts = {finding.subject: finding.verdict for finding in audited.findings}
    assert verdicts["race"] is Verdict.CANNOT_TELL


def grouped(groups: Sequence[str], patients: Sequence[str]) -> Grouped:
    sites = ("here",) * len(groups)
    return Grouped(rows=np.arange(len(groups)), groups=tuple(groups), patients=tuple(patients), sites=sites)


def test_contrast_is_the_plain_difference_and_its_interval_is_by_patient() -> None:
    """Five studies of each of 60 patients, alike in a patient: the interval is as wide as that of 60 means."""
    rng = np.random.default_rng(3)
    patients, groups = [f"p{i // 5}" for i in range(300)], ["a" if i // 5 % 2 else "b" for i in range(300)]
    figures = rng.normal(size=60)[np.arange(300) // 5] + 0.2 * rng.normal(size=300)
    inside = np.array(groups) == "a"
    contrast = contrasts(figures[:, None], grouped(groups, patients), rng=rng)[0]
    assert contrast.difference == pytest.approx(figures[inside].mean() - figures[~inside].mean())
    means = figures.reshape(60, 5).mean(axis=1)
    spread = np.sqrt(means[1::2].var(ddof=1) / 30 + means[::2].var(ddof=1) / 30)
    assert contrast.high - contrast.low == pytest.approx(3.92 * spread, rel=0.15)
    by_study = contrasts(figures[:, None], grouped(groups, [str(i) for i in range(300)]), rng=rng)[0]
    assert by_study.high - by_study.low < 0.7 * (contrast.high - contrast.low)
