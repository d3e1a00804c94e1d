"""The table of counts by group: what it counts, and that one patient moves all of it by a bounded step."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from client.measurement.group_counts import group_counts
from client.measurement.noised_statistics import Found
from client.measurement.scores import Scores
from common.config.load import load_config
from common.fairness.scores import NUM_BINS
from common.fairness.table import TableForm, table_of
from common.privacy.count_noise import UNITS
from common.retrieval.paired import CELLS
from common.types import StudyRecord

FORM = table_of(load_config(["fairness.scores=[sex,age_band]", "fairness.ranks=[sex,race]"]).fairness)
"""Sex, age band, race and sex by age band; scores of the first two, ranks of sex and race."""
RECIPROCALS = np.array([1, 1 / 2, 1 / 5, 1 / 6, 1 / 10, 1 / 11, 0])
"""Of the bins of ranks."""
PUBLIC = 30
"""Public reports that an image is paired with."""

Study = tuple[StudyRecord, bool, int, int, tuple[int, ...]]
"""A record, whether the start finds it, its rank now, the bin of its relevant score, and those of irrelevant ones."""
Studies = list[Study]
Counting = Callable[..., NDArray[np.int64]]


def counts_of(studies: Studies, counting: Counting = group_counts) -> NDArray[np.int64]:
    """The table of studies."""
    ranks = np.array([[1 if start else 99, rank] for _, start, rank, _, _ in studies], dtype=np.int64).reshape(-1, 2)
    nothing = np.zeros(len(studies), dtype=bool)
    bins = np.eye(NUM_BINS, dtype=np.int64)
    irrelevant = [bins[list(of_study)].sum(axis=0) for *_, of_study in studies]
    return counting(
        FORM,
        Found(rank=ranks[:, 0], by_code=nothing),
        Found(rank=ranks[:, 1], by_code=nothing),
        Scores(
            relevant=bins[[bin_ for _, _, _, bin_, _ in studies]].reshape(-1, NUM_BINS),
            irrelevant=np.array(irrelevant, dtype=np.int64).reshape(-1, NUM_BINS),
        ),
        records=[record for record, *_ in studies],
    )


@st.composite
def studies_of(draw: st.DrawFn, patient: str, most: int = 50) -> Studies:
    """One patient's studies, of any sex, age and race each: a patient may be in every group."""
    seed, number = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, most))
    rng = np.random.default_rng(seed)
    return [
        (
            StudyRecord(
                f"{patient}-{study}",
                patient,
                "report",
                sex=rng.choice(["F", "M", "O", None]),
                age=rng.choice([5, 30, 50, 70, 90, None]),
                race=rng.choice(["Asian", "Black", "elsewhere", None]),
            ),
            bool(rng.integers(2)),
            int(rng.integers(1, 2 + PUBLIC)),
            int(rng.integers(NUM_BINS)),
            tuple(rng.integers(NUM_BINS, size=PUBLIC).tolist()),
        )
        for study in range(number)
    ]


@settings(max_examples=60, deadline=None)
@given(rest=studies_of("a", 5), other=studies_of("b", 5), patient=studies_of("c"))
def test_patient_moves_each_vector_by_their_parts_and_no_more(rest: Studies, other: Studies, patient: Studies) -> None:
    """Up to 50 studies, in whichever groups: the sensitivity of the whole table."""
    moved = counts_of([*rest, *patient, *other]) - counts_of([*rest, *other])
    assert moved.min() >= 0
    assert [int(moved[vector].sum()) for vector in FORM.vectors] == [UNITS] * FORM.num_vectors
    assert FORM.num_vectors == 4 + 2 * 2 + 2
    assert np.sqrt((moved**2).sum()) <= UNITS * np.sqrt(FORM.num_vectors)


def by_study(
    form: TableForm, start: Found, final: Found, scores: Scores, *, records: list[StudyRecord]
) -> NDArray[np.int64]:
    """A variant that counts every study whole: a patient of many studies moves it further."""
    alone = [StudyRecord(f"{n}", f"p{n}", "report", sex=record.sex) for n, record in enumerate(records)]
    return group_counts(form, start, final, scores, records=alone)


def once_a_group(
    form: TableForm, start: Found, final: Found, scores: Scores, *, records: list[StudyRecord]
) -> NDArray[np.int64]:
    """A variant that counts a patient whole in each group that they are in."""
    renamed = [
        StudyRecord(f"{n}", f"{record.patient_id}-{record.sex}", "report", sex=record.sex)
        for n, record in enumerate(records)
    ]
    return group_counts(form, start, final, scores, records=renamed)


@pytest.mark.parametrize("counting", [by_study, once_a_group])
def test_counting_that_lets_a_patient_move_more_is_caught(counting: Counting) -> None:
    patient = [(StudyRecord(f"s{n}", "c", "report", sex="FM"[n % 2]), True, 20, 3, (0,) * PUBLIC) for n in range(50)]
    most = UNITS * FORM.num_vectors
    assert counts_of(patient).sum() == most
    assert counts_of(patient, counting).sum() > most


def normalised_after_the_sum(
    form: TableForm, start: Found, final: Found, scores: Scores, *, records: list[StudyRecord]
) -> NDArray[np.int64]:
    """A variant that tells each histogram of scores as shares of all patients': whoever is added moves the others."""
    counts = group_counts(form, start, final, scores, records=records)
    for vector in form.vectors[len(form.marginals) :]:
        counts[vector] = UNITS * 100 * counts[vector] // max(int(counts[vector].sum()), 1)
    return counts


def test_histogram_that_is_normalised_after_the_sum_is_caught() -> None:
    """Ninety patients of one bin and one of another: their shares fall by a ninetieth, and that is more than one."""
    rest: Studies = [(StudyRecord(f"s{n}", f"p{n}", "report", sex="F"), True, 1, 2, (0,) * PUBLIC) for n in range(3)]
    one: Studies = [(StudyRecord("c", "c", "report", sex="F"), True, 1, 5, (4,) * PUBLIC)]
    widest = [
        max(np.abs((counts_of([*rest, *one], way) - counts_of(rest, way))[vector]).sum() for vector in FORM.vectors)
        for way in (group_counts, normalised_after_the_sum)
    ]
    assert widest[0] == UNITS
    assert widest[1] > UNITS


@settings(max_examples=20, deadline=None)
@given(one=studies_of("a", 6), other=studies_of("b", 6))
def test_counts_are_the_shares_of_each_patients_studies(one: Studies, other: Studies) -> None:
    """Against exact shares in a loop, less than two parts of a patient away: one by groups, one by cells."""
    table = counts_of([*one, *other])
    for vector, marginal in zip(FORM.vectors, FORM.marginals, strict=False):
        told = table[vector].reshape(len(marginal.groups), len(CELLS))
        for group in range(len(marginal.groups)):
            for cell, name in enumerate(CELLS):
                share = sum(
                    UNITS
                    * Fraction(
                        sum(
                            [start, rank <= 10] == _hits(name) and marginal.group_of(record) == group
                            for record, start, rank, _, _ in patient
                        ),
                        len(patient),
                    )
                    for patient in (one, other)
                )
                assert abs(told[group, cell] - share) < 2 * 2


def _hits(cell: str) -> list[bool]:
    return {"both": [True, True], "start_only": [True, False], "final_only": [False, True]}.get(cell, [False, False])


@settings(max_examples=20, deadline=None)
@given(one=studies_of("a", 6), other=studies_of("b", 6))
def test_scores_are_the_shares_of_each_patients_pairs(one: Studies, other: Studies) -> None:
    table = counts_of([*one, *other])
    sex = FORM.marginals[0]
    for vector, bins_of in ((FORM.vectors[4], lambda study: [study[3]]), (FORM.vectors[5], lambda study: study[4])):
        told = table[vector].reshape(len(sex.groups), NUM_BINS)
        for group in range(len(sex.groups)):
            for bin_ in range(NUM_BINS):
                share = sum(
                    Fraction(UNITS * bins_of(study).count(bin_), len(bins_of(study)) * len(patient))
                    for patient in (one, other)
                    for study in patient
                    if sex.group_of(study[0]) == group
                )
                assert abs(told[group, bin_] - share) < 2 * 2


def nested(
    form: TableForm, start: Found, final: Found, scores: Scores, *, records: list[StudyRecord]
) -> NDArray[np.int64]:
    """A variant whose bins of ranks hold one another, as hits at 1, 5 and 10 do: a first rank is counted in all."""
    counts = group_counts(form, start, final, scores, records=records)
    for vector in form.vectors[-len(form.ranked) :]:
        counts[vector] = counts[vector].reshape(-1, len(RECIPROCALS)).cumsum(axis=1).ravel()
    return counts


def test_hits_that_are_counted_at_each_depth_are_caught() -> None:
    first: Studies = [(StudyRecord("c", "c", "report", sex="F"), True, 1, 5, (4,) * PUBLIC)]
    widest = [max(counts_of(first, way)[vector].sum() for vector in FORM.vectors) for way in (group_counts, nested)]
    assert widest == [UNITS, UNITS * len(RECIPROCALS)]


@settings(max_examples=20, deadline=None)
@given(one=studies_of("a", 6), other=studies_of("b", 6))
def test_ranks_are_the_hits_and_reciprocals_of_each_patient(one: Studies, other: Studies) -> None:
    """Against shares in a loop, a part of a patient away for each of the seven bins and one for the group."""
    table, sex = counts_of([*one, *other]), FORM.marginals[0]
    told = table[FORM.vectors[8]].reshape(len(sex.groups), len(RECIPROCALS)) / UNITS
    for group in range(len(sex.groups)):
        mine = [
            (study[2], 1 / len(patient))
            for patient in (one, other)
            for study in patient
            if sex.group_of(study[0]) == group
        ]
        off = 2 * (len(RECIPROCALS) + 1) / UNITS
        for depth, bins in ((1, 1), (5, 3), (10, 5)):
            assert abs(told[group, :bins].sum() - sum(weight for rank, weight in mine if rank <= depth)) < off
        assert abs(told[group] @ RECIPROCALS - sum(weight / rank for rank, weight in mine)) < off


@settings(max_examples=20, deadline=None)
@given(one=studies_of("a", 6), other=studies_of("b", 6))
def test_vectors_count_the_same_patients_in_a_group(one: Studies, other: Studies) -> None:
    table = counts_of([*one, *other])
    vectors = [table[vector] for vector in FORM.vectors]
    for marginal, *others in ((0, 4, 5, 8), (1, 6, 7), (2, 9)):
        groups = len(FORM.marginals[marginal].groups)
        sums = [vectors[number].reshape(groups, -1).sum(axis=1).tolist() for number in (marginal, *others)]
        assert all(one == sums[0] for one in sums)


def test_site_without_patients_counts_nobody() -> None:
    table = counts_of([])
    assert table.shape == (FORM.num_counts,)
    assert not table.any()
