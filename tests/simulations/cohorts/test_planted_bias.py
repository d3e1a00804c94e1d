"""Planted bias meets the group, moves nothing else, and leaves a cohort without it byte for byte as it was."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from common.errors import ConfigError
from simulations.cohorts.bias import PHRASES, PLANTED_AGAINST
from simulations.cohorts.patients import PhantomStudy
from simulations.cohorts.plan import PLANTED_KINDS, CohortPlan
from simulations.cohorts.render import render_views
from simulations.cohorts.scanners import BIASED_SCANNER, PUBLIC_SCANNERS, SITE_SCANNERS
from simulations.cohorts.write import draw_cohort, write_cohort

PLAN = CohortPlan(
    num_sites=2,
    patients_per_site=300,
    public_patients=100,
    image_size=64,
    site_shift=0.5,
    confounder=False,
    seed=3,
)
ALPHA = 1e-3


@lru_cache
def cohort(*planted: str) -> list[PhantomStudy]:
    return list(draw_cohort(replace(PLAN, planted=planted)))


def in_group(study: PhantomStudy) -> bool:
    return study.patient.race == PLANTED_AGAINST and study.patient.site != "public"


def outside(study: PhantomStudy) -> bool:
    return study.patient.race != PLANTED_AGAINST and study.patient.site != "public"


def traits(study: PhantomStudy) -> dict[str, object]:
    """What each kind plants in a study, and under "rest" everything else that is drawn."""
    return {
        "scanner": [replace(view.exposure, portable=False) for view in study.views],
        "marker": [view.exposure.portable for view in study.views],
        "phrases": study.report,
        "rest": (study.study_id, study.patient, study.findings, [view.pose for view in study.views]),
    }


@pytest.mark.parametrize("kind", PLANTED_KINDS)
def test_each_kind_moves_nothing_but_its_own_trait(kind: str) -> None:
    moved = dict.fromkeys((*PLANTED_KINDS, "rest"), 0)
    for before, after in zip(cohort(), cohort(kind), strict=True):
        clean, planted = traits(before), traits(after)
        for name in moved:
            moved[name] += clean[name] != planted[name]
    assert moved[kind] > 50
    assert sum(moved.values()) == moved[kind]


@pytest.mark.parametrize("kind", PLANTED_KINDS)
def test_a_kind_beside_others_is_the_same_as_alone(kind: str) -> None:
    alone, together = cohort(kind), cohort(*PLANTED_KINDS)
    assert [traits(study)[kind] for study in alone] == [traits(study)[kind] for study in together]


@pytest.mark.parametrize("kind", PLANTED_KINDS)
def test_the_public_set_is_left_alone(kind: str) -> None:
    def public(studies: list[PhantomStudy]) -> list[PhantomStudy]:
        return [study for study in studies if study.patient.site == "public"]

    assert public(cohort(kind)) == public(cohort())


def rates(kind: str, planted: tuple[str, ...]) -> tuple[list[bool], list[bool]]:
    """Whether the trait is there, first study of each patient: in the group, and in the others of the hospitals."""

    def has(study: PhantomStudy) -> bool:
        exposure = study.views[0].exposure
        return {
            "scanner": exposure.scanner == BIASED_SCANNER.name,
            "marker": exposure.portable,
            "phrases": study.report.startswith(PHRASES),
        }[kind]

    first = [study for study in cohort(*planted) if study.study_id.endswith("-s1")]
    return [has(study) for study in first if in_group(study)], [has(study) for study in first if outside(study)]


@pytest.mark.parametrize(("kind", "often"), [("scanner", 0.95), ("marker", 0.95), ("phrases", 0.7)])
def test_group_meets_it_far_more_often(kind: str, often: float) -> None:
    """With n = 600 patients, about 67 in the group; each rate within the exact interval at alpha 1e-3."""
    for found, rate in zip(rates(kind, (kind,)), (often, 0.05), strict=True):
        assert len(found) > 50
        assert stats.binomtest(sum(found), len(found), rate).pvalue > ALPHA


@pytest.mark.parametrize("kind", PLANTED_KINDS)
def test_clean_cohort_is_even(kind: str) -> None:
    """The negative control, Fisher's exact test at alpha 1e-3."""
    group, others = rates(kind, ())
    table = [[sum(group), len(group) - sum(group)], [sum(others), len(others) - sum(others)]]
    assert stats.fisher_exact(table).pvalue > ALPHA


def test_worded_reports_tell_every_finding_with_fewer_details() -> None:
    clean = {study.study_id: study for study in cohort()}
    worded = [study for study in cohort("phrases") if study.report.startswith(PHRASES)]
    told_before = np.mean([" left" in clean[study.study_id].report.lower() for study in worded])
    told_after = np.mean([" left" in study.report.lower() for study in worded])
    assert told_after < 0.8 * told_before
    for study in worded:
        told = study.report.count(".") - sum(phrase in study.report for phrase in PHRASES)
        assert told >= len(study.findings)


def test_unit_is_unlike_all_others_and_keeps_what_is_in_the_picture() -> None:
    """A picture of the unit follows the hospital's picture of the same chest: rank correlation of the pixels."""
    assert BIASED_SCANNER.name not in {scanner.name for scanner in (*SITE_SCANNERS, *PUBLIC_SCANNERS)}
    pairs = [(a, b) for a, b in zip(cohort(), cohort("scanner"), strict=True) if a != b][:20]
    for before, after in pairs:
        plain, biased = (render_views(study, size=64, seed=3)[0] for study in (before, after))
        inner = (slice(8, -8), slice(8, -8))
        assert stats.spearmanr(plain[inner].ravel(), biased[inner].ravel()).statistic > 0.7
        assert biased[inner].std() < plain[inner].std()


def test_clean_cohort_is_byte_for_byte_what_it_was(tmp_path: Path) -> None:
    """The digest of a small cohort as it was drawn before any bias could be planted."""
    plan = replace(PLAN, patients_per_site=6, public_patients=4, image_size=32)
    folder = write_cohort(plan, tmp_path / "cohort")
    held = json.loads((folder / "cohort.json").read_bytes())
    assert "planted" not in held["plan"]
    assert held["manifest_sha256"] == "7be3bbd04fda57272471424f4d106d6bbc69e08ae1e694b11bbf82a0a4fc66fa"
    assert held["truth_sha256"] == "e50fe866ac89fef2be529c0d795d574101d8ebdf5a6fd2407ea4a564f321bc33"


def test_planted_cohort_is_not_taken_for_the_clean_one(tmp_path: Path) -> None:
    plan = replace(PLAN, patients_per_site=6, public_patients=0, image_size=32)
    folder = write_cohort(plan, tmp_path / "cohort")
    with pytest.raises(ConfigError, match="not a cohort of this plan"):
        write_cohort(replace(plan, planted=("marker",)), folder)


def test_the_order_of_the_kinds_does_not_matter(tmp_path: Path) -> None:
    plan = replace(PLAN, patients_per_site=6, public_patients=0, image_size=32, planted=("marker", "scanner"))
    folder = write_cohort(plan, tmp_path / "cohort")
    assert write_cohort(replace(plan, planted=("scanner", "marker")), folder) == folder


def test_unknown_kind_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(ConfigError, match=r"data\.synthetic\.planted=markr: unknown; .*marker"):
        replace(PLAN, planted=("markr",))
