"""Reports say what is true: read back by a keyword reader that shares no table with the grammar."""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

import numpy as np
import pytest

from simulations.cohorts.findings import DEVICE_NAMES, FINDING_NAMES, Finding
from simulations.cohorts.grammar import HouseStyle, write_report
from simulations.cohorts.patients import PhantomStudy
from simulations.cohorts.plan import CohortPlan
from simulations.cohorts.write import draw_cohort

KEYWORDS = {
    "pleural effusion": r"effusion|pleural fluid|hydrothorax",
    "consolidation": r"consolidation|airspace|infiltrate|shadowing",
    "nodule": r"nodule|nodular|coin|round foc",
    "mass": r"\bmass|tumour|space-occupying",
    "pneumothorax": r"pneumothora|pleural air|\bptx",
    "cardiomegaly": r"cardiomegaly|cardiac enlargement|enlargement of the heart|widening of the cardiac",
    "atelectasis": r"atelectasis|collapse|volume loss",
    "interstitial opacities": r"interstitial|reticula",
    "rib fracture": r"\bribs?\b|costal",
    "hiatal hernia": r"hernia|gastric",
    "pacemaker": r"pacemaker|pacing",
    "central line": r"central venous|\bcvcs?\b",
    "endotracheal tube": r"tube",
}
SIDES = {"bilateral": r"bilateral|both", "left": r"\bleft|\bl\b", "right": r"\bright|\br\b"}
ZONES = {
    "upper": r"\b(upper|apical|superior)\b",
    "middle": r"\b(middle|mid|perihilar)\b",
    "lower": r"\b(lower|basal|inferior)\b",
}
SEVERITIES = {
    "small": r"\b(small|minor|little|mild|slight|discrete|single|solitary)\b",
    "moderate": r"\b(moderate|medium-sized|intermediate|double|paired)\b",
    "large": r"\b(large|sizeable|big|severe|marked|extensive|multiple|several)\b",
}
DENIED = r"^(no|negative|without)\b|not seen"


def first_match(patterns: dict[str, str], text: str) -> str:
    return next((name for name, pattern in patterns.items() if re.search(pattern, text)), "")


def read(report: str) -> tuple[dict[str, tuple[str, str, str]], list[str]]:
    """What a report states, with side, zone and severity, and what it denies."""
    stated: dict[str, tuple[str, str, str]] = {}
    denied: list[str] = []
    for sentence in report.lower().split("."):
        text = re.sub(r"^(findings|cxr):", "", sentence.strip()).strip()
        names = [name for name, pattern in KEYWORDS.items() if re.search(pattern, text)]
        assert len(names) <= 1, sentence
        for name in names:
            if re.search(DENIED, text):
                denied.append(name)
            else:
                assert name not in stated, report
                details = (first_match(patterns, text) for patterns in (SIDES, ZONES, SEVERITIES))
                stated[name] = tuple(details)  # type: ignore[assignment]
    return stated, denied


@lru_cache
def studies() -> list[PhantomStudy]:
    plan = CohortPlan(
        num_sites=4,
        patients_per_site=150,
        public_patients=150,
        image_size=64,
        site_shift=0.8,
        confounder=False,
        seed=11,
    )
    return list(draw_cohort(plan))


def test_report_states_each_finding_and_denies_only_absent_ones() -> None:
    for study in studies():
        stated, denied = read(study.report)
        present = {finding.name for finding in study.findings}
        assert set(stated) == present, study.report
        assert not present & set(denied), study.report


def test_report_details_agree_with_the_truth_and_are_rarely_left_out() -> None:
    told = Counter[str]()
    for study in studies():
        stated, _ = read(study.report)
        for finding in study.findings:
            true = (finding.side, finding.zone, finding.severity)
            for detail, truth, said in zip(("side", "zone", "severity"), true, stated[finding.name], strict=True):
                assert said in (truth, ""), (finding, study.report)
                told[f"{detail} told"] += bool(said)
                told[f"{detail} true"] += bool(truth)
    for detail in ("side", "zone", "severity"):
        assert 0.92 < told[f"{detail} told"] / told[f"{detail} true"] < 1.0


def test_report_calls_the_lungs_clear_only_without_lung_findings() -> None:
    outside = {"cardiomegaly", "rib fracture", "hiatal hernia", *DEVICE_NAMES}
    clear = re.compile(r"lungs are clear|unremarkable|normal aeration|lung fields normal", re.IGNORECASE)
    for study in studies():
        in_the_lungs = {finding.name for finding in study.findings} - outside
        assert bool(clear.search(study.report)) != bool(in_the_lungs)


def test_report_calls_the_heart_normal_only_when_it_is() -> None:
    normal = re.compile(r"heart size is normal|within normal|not enlarged|normal cardiac", re.IGNORECASE)
    enlarged = [study for study in studies() if "cardiomegaly" in study.finding_names]
    assert enlarged
    assert not any(normal.search(study.report) for study in enlarged)


@pytest.mark.parametrize("name", [*FINDING_NAMES, *DEVICE_NAMES])
def test_report_has_several_wordings_for_each_finding(name: str) -> None:
    finding = Finding(name, "", "", "", (0.5, 0.5), 1)
    style, rng = HouseStyle(seed=None, strength=0.0), np.random.default_rng(0)
    matches = [re.search(KEYWORDS[name], write_report([finding], style, rng).lower()) for _ in range(100)]
    assert all(matches)
    assert len({match.group() for match in matches if match} | {name}) >= 2


def test_reports_are_fairly_identifying_among_three_hundred() -> None:
    patients = {study.patient.patient_id: study for study in studies()}
    reports = [
        tuple(sorted((finding.name, finding.side, finding.zone, finding.severity) for finding in study.findings))
        for study in list(patients.values())[:300]
    ]
    alone = sum(count for count in Counter(reports).values() if count <= 3) / len(reports)
    assert alone > 0.75
