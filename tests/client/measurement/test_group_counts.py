"""Counts by group: what they count, and that one patient moves the whole table by a bounded step."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from client.measurement.group_counts import group_counts
from client.measurement.noised_statistics import Found, count
from common.config.load import load_config
from common.fairness.marginals import marginals_of
from common.privacy.count_noise import UNITS
from common.retrieval.paired import CELLS
from common.types import StudyRecord

MARGINALS = marginals_of(load_config([]).fairness)
"""Sex, age band, race and sex by age band."""

Studies = list[tuple[StudyRecord, bool, bool]]
Counting = Callable[..., NDArray[np.int64]]


def found(hits: list[bool]) -> Found:
    return Found(by_embedding=np.array(hits, dtype=bool), by_code=np.zeros(len(hits), dtype=bool))


def counts_of(studies: Studies, counting: Counting = group_counts) -> NDArray[np.int64]:
    """The table of studies with whether start and final model find each."""
    return counting(
        found([start for _, start, _ in studies]),
        found([final for _, _, final in studies]),
        records=[record for record, _, _ in studies],
        marginals=MARGINALS,
    )


@st.composite
def studies_of(draw: st.DrawFn, patient: str, most: int = 50) -> Studies:
    """One patient's studies, of any sex, age and race each: a patient may be in every group."""
    number = draw(st.integers(1, most))
    return [
        (
            StudyRecord(
                f"{patient}-{study}",
                patient,
                "report",
                sex=draw(st.sampled_from(["F", "M", "O", None])),
                age=draw(st.sampled_from([5, 30, 50, 70, 90, None])),
                race=draw(st.sampled_from(["Asian", "Black", "elsewhere", None])),
            ),
            draw(st.booleans()),
            draw(st.booleans()),
        )
        for study in range(number)
    ]


@settings(max_examples=60, deadline=None)
@given(rest=studies_of("a", 5), other=studies_of("b", 5), patient=studies_of("c"))
def test_patient_moves_each_marginal_by_their_parts_and_no_more(
    rest: Studies, other: Studies, patient: Studies
) -> None:
    moved = counts_of([*rest, *patient, *other]) - counts_of([*rest, *other])
    assert moved.min() >= 0
    start = 0
    for marginal in MARGINALS:
        part = moved[start : start + len(marginal.groups)]
        assert part.sum() == UNITS
        start += len(marginal.groups)
    assert moved.sum() == UNITS * len(MARGINALS)
    assert np.sqrt((moved**2).sum()) <= UNITS * np.sqrt(len(MARGINALS))


def by_study(start: Found, final: Found, *, records: list[StudyRecord], marginals: object) -> NDArray[np.int64]:
    """A variant that counts every study whole: a patient of many studies moves it further."""
    del marginals
    alone = [StudyRecord(f"{n}", f"p{n}", "report", sex=record.sex) for n, record in enumerate(records)]
    return group_counts(start, final, records=alone, marginals=MARGINALS)


def once_a_group(start: Found, final: Found, *, records: list[StudyRecord], marginals: object) -> NDArray[np.int64]:
    """A variant that counts a patient whole in each group that they are in."""
    del marginals
    renamed = [
        StudyRecord(f"{n}", f"{record.patient_id}-{record.sex}", "report", sex=record.sex)
        for n, record in enumerate(records)
    ]
    return group_counts(start, final, records=renamed, marginals=MARGINALS)


@pytest.mark.parametrize("counting", [by_study, once_a_group])
def test_counting_that_lets_a_patient_move_more_is_caught(counting: Counting) -> None:
    patient = [(StudyRecord(f"s{n}", "c", "report", sex="FM"[n % 2]), True, False) for n in range(50)]
    assert counts_of(patient).sum() == UNITS * len(MARGINALS)
    assert counts_of(patient, counting).sum() > UNITS * len(MARGINALS)


@settings(max_examples=30, deadline=None)
@given(one=studies_of("a", 6), other=studies_of("b", 6))
def test_counts_are_the_shares_of_each_patients_studies(one: Studies, other: Studies) -> None:
    """Against exact shares in a loop, but for a patient's rounding, which goes to those whom neither model finds."""
    table = counts_of([*one, *other])
    start = 0
    for marginal in MARGINALS:
        for group in range(len(marginal.groups)):
            for cell, name in enumerate(CELLS):
                share = sum(
                    UNITS
                    * Fraction(
                        sum(
                            (was, now) == _hits(name) and marginal.group_of(record) == group
                            for record, was, now in patient
                        ),
                        len(patient),
                    )
                    for patient in (one, other)
                )
                told = table[start + group, cell]
                assert share - 2 < told <= share + (2 * UNITS if name == "neither" else 0)
        start += len(marginal.groups)


def _hits(cell: str) -> tuple[bool, bool]:
    return {"both": (True, True), "start_only": (True, False), "final_only": (False, True)}.get(cell, (False, False))


@settings(max_examples=30, deadline=None)
@given(one=studies_of("a", 6), other=studies_of("b", 6))
def test_marginals_agree_with_each_other_and_with_the_whole(one: Studies, other: Studies) -> None:
    """Each patient of one group: then every marginal's sum over groups is what all patients' counts are."""
    studies = [
        (StudyRecord(record.study_id, record.patient_id, "report", sex=patient[0][0].sex), start, final)
        for patient in (one, other)
        for record, start, final in patient
    ]
    table = counts_of(studies)
    whole = count(
        found([start for _, start, _ in studies]),
        found([final for _, _, final in studies]),
        patients=[record.patient_id for record, _, _ in studies],
    )
    start = 0
    for marginal in MARGINALS:
        sums = table[start : start + len(marginal.groups)].sum(axis=0)
        assert sums.tolist() == [whole.both, whole.start_only, whole.final_only, whole.neither]
        start += len(marginal.groups)


def test_site_without_patients_counts_nobody() -> None:
    table = counts_of([])
    assert table.shape == (sum(len(marginal.groups) for marginal in MARGINALS), len(CELLS))
    assert not table.any()
