"""Public studies searched for their own labels: what a shown hit is told is what it is worth, on others than those."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from client.mediator import calibrate
from client.mediator.calibrate import NO_FINDINGS, calibrated, pairs_shown, planned_of
from client.mediator.public_queries import PublicQuery, public_queries
from client.mediator.rules_digest import rules_digest
from client.mediator.shown_pairs import ShownPairs
from client.search.index import Gallery
from common.retrieval.relevance import Curve, QueryKind
from common.types import StudyRecord
from tests.client.mediator.public_world import BIT_WIDTH, WordModel, public_gallery, public_records

MODEL = WordModel()


@cache
def records(seed: int) -> list[StudyRecord]:
    return public_records(200, seed=seed)


def shown(seed: int) -> ShownPairs:
    """What is shown of studies of another draw."""
    planned = planned_of(public_queries(records(seed), seed=seed))
    return pairs_shown(planned, public_gallery(records(seed), MODEL), MODEL, Gallery.REPORTS, seed=seed)


def curve_of(seed: int) -> Curve:
    """What public studies tell of plans among reports."""
    made = calibrated(public_gallery(records(seed), MODEL), MODEL, seed=seed)
    curve = made.found.relevance.curve(query=QueryKind.PLAN, gallery="reports", bit_width=BIT_WIDTH)
    assert curve is not None
    return curve


def off_by(curve: Curve, of_others: ShownPairs) -> float:
    """How far what is told is off, step by step, over hits of studies that the curve has not seen."""
    told = np.array([curve.of(int(-score)).probability for score in of_others.pairs.scores_M])  # type: ignore[union-attr]
    relevant = of_others.pairs.relevant_M
    return sum(abs(told[told == one].sum() - relevant[told == one].sum()) for one in set(told)) / len(told)


def test_hits_of_other_studies_are_as_often_relevant_as_they_are_told() -> None:
    of_others, curve = shown(2), curve_of(1)
    assert off_by(curve, of_others) < 0.1, "at two standard errors of what so few labels can tell"
    assert curve.steps[0].probability > 3 * curve.steps[-1].probability
    relevant = -of_others.pairs.scores_M[of_others.pairs.relevant_M]
    assert np.mean([curve.holds(int(rank)) for rank in relevant]) == pytest.approx(0.9, abs=0.06)
    turned = replace(of_others, pairs=replace(of_others.pairs, relevant_M=~of_others.pairs.relevant_M))
    assert off_by(curve, turned) > 0.3


def test_patients_who_ask_the_same_are_shown_different_hits(monkeypatch: pytest.MonkeyPatch) -> None:
    def num_different() -> int:
        pairs, asked = shown(2).pairs, [one.query.text for one in planned_of(public_queries(records(2), seed=2))]
        return len({(asked[query], item) for query, item in zip(pairs.queries_M, pairs.item_patients_M, strict=True)})

    drawn = num_different()
    monkeypatch.setattr(calibrate, "GALLERY", 10_000)
    assert drawn > 1.5 * num_different()


def test_studies_of_the_asking_patient_are_never_answers() -> None:
    pairs = shown(3).pairs
    assert len(pairs) > 1000
    assert (pairs.query_patients_M != pairs.item_patients_M).all()


def test_the_same_studies_and_seed_give_the_same_file_and_name_model_and_rules() -> None:
    first, again = (
        calibrated(public_gallery(public_records(40, seed=1), MODEL), MODEL, seed=5).found for _ in range(2)
    )
    assert first == again
    assert (first.relevance.model, first.rules) == (MODEL.digest, rules_digest())
    assert {(curve.query, curve.gallery) for curve in first.relevance.curves} == {
        ("plan", "images"),
        ("plan", "reports"),
    }


def test_too_few_patients_and_labels_without_words_tell_nothing() -> None:
    few = calibrated(public_gallery(public_records(8, seed=1), MODEL), MODEL, seed=1).found.relevance
    assert not few.tells
    assert "fewer than 20 public patients" in few.curves[0].why
    unknown = [StudyRecord(study_id="a", patient_id="a", report="x", findings=("xyzzy",))]
    made = calibrated(public_gallery(unknown, MODEL), MODEL, seed=1)
    assert (made.found.relevance.why, made.num_queries, made.not_understood) == (NO_FINDINGS, 0, ("xyzzy",))


def record(patient: str, *findings: str) -> StudyRecord:
    return StudyRecord(study_id=patient, patient_id=patient, report="", findings=findings)


def test_queries_say_the_labels_and_deny_what_another_patient_has_beside_them() -> None:
    made = [record("a", "Pleural_Effusion"), record("b", "Pleural_Effusion", "Mass"), record("c")]
    assert [(one.patient, one.text) for one in public_queries(made, seed=1)] == [
        ("a", "pleural effusion"),
        ("a", "pleural effusion, no mass"),
        ("b", "mass"),
        ("b", "pleural effusion"),
        ("b", "pleural effusion and mass"),
    ]
    assert public_queries(made, seed=1) == public_queries(made[::-1], seed=1)
    query = PublicQuery(patient="a", wanted="Pleural_Effusion", excluded="Mass")
    assert [query.is_answered_by(one.findings) for one in made] == [True, False, False]
    both = PublicQuery(patient="a", wanted="Pleural_Effusion", beside="Mass")
    assert [both.is_answered_by(one.findings) for one in made] == [False, True, False]
