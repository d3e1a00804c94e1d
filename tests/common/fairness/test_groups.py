"""Groups of a study, and suppression against a reader who subtracts what is shown."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common.fairness.groups import (
    AGE_BANDS,
    ATTRIBUTES,
    LEAST_PATIENTS,
    age_band,
    group_of,
    suppressed_groups,
)
from common.types import StudyRecord


def test_group_of_names_every_recorded_attribute() -> None:
    record = StudyRecord("s", "p", "clear", sex="F", age=63, race="recorded race", scanner="model", language="French")
    assert group_of(record) == {
        "sex": "F",
        "age_band": "60-79",
        "scanner": "model",
        "race": "recorded race",
        "language": "French",
    }
    assert tuple(group_of(record)) == ATTRIBUTES


def test_group_of_leaves_out_what_is_missing() -> None:
    assert group_of(StudyRecord("s", "p", "clear")) == {}
    assert group_of(StudyRecord("s", "p", "clear", sex="", age=0)) == {"age_band": "0-17"}


def test_age_bands_hold_the_ages_that_they_name() -> None:
    for band in AGE_BANDS:
        low, _, high = band.rstrip("+").partition("-")
        ages = range(int(low), int(high or 120) + 1)
        assert {age_band(age) for age in ages} == {band}


@pytest.mark.parametrize(
    ("num_patients", "num_missing", "hidden"),
    [
        ({"F": 60, "M": 40}, 0, set()),
        ({"F": 11, "M": 40}, 0, set()),
        ({"F": 10, "M": 40}, 0, {"F", "M"}),  # 10 is the total less M
        ({"a": 3, "b": 20, "c": 50}, 0, {"a", "b"}),  # complementary: b hides a
        ({"a": 3, "b": 4, "c": 20, "d": 50}, 0, {"a", "b", "c"}),  # a and b together are only 7
        ({"a": 5, "b": 6, "c": 20}, 0, {"a", "b"}),  # together 11
        ({"F": 60, "M": 40}, 5, {"M"}),  # the 5 without the attribute would be the remainder
        ({"F": 60, "M": 40}, 11, set()),
        ({"F": 60, "M": 4}, 20, {"M"}),  # 24 remain, of which the reader cannot tell 4
        ({"everyone": 10}, 0, {"everyone"}),
        ({"everyone": 11}, 0, set()),
        ({}, 30, set()),
    ],
)
def test_suppression_hides_what_is_small_or_derivable(
    num_patients: dict[str, int], num_missing: int, hidden: set[str]
) -> None:
    total = sum(num_patients.values()) + num_missing
    assert suppressed_groups(num_patients, total=total, num_ungrouped=num_missing) == hidden


def test_suppression_obeys_a_stricter_site() -> None:
    counts = {"F": 19, "M": 40, "O": 60}
    assert suppressed_groups(counts, total=119, num_ungrouped=0, least_patients=20) == {"F", "M"}


@example(studies=[["a", "b"]] * 20 + [[None]] * 3)  # the groups' sum exceeds the total
@example(studies=[["a", "b"]] * 5 + [["a"]] * 15)  # the shown group alone has every patient
@given(
    # For each patient the groups of their studies; None is a study without the attribute.
    studies=st.lists(
        st.lists(st.sampled_from(["a", "b", "c", "d", None]), min_size=1, max_size=3),
        min_size=1,
        max_size=120,
    )
)
def test_no_reader_can_subtract_their_way_to_a_small_cell(studies: list[list[str | None]]) -> None:
    members = {
        name: {patient for patient, groups in enumerate(studies) if name in groups}
        for name in ("a", "b", "c", "d", None)
    }
    ungrouped = sum(groups.count(None) for groups in studies)
    recorded = {name: len(patients) for name, patients in members.items() if name is not None and patients}
    hidden = suppressed_groups(recorded, total=len(studies), num_ungrouped=ungrouped)
    shown = set(recorded) - hidden

    assert all(recorded[name] >= LEAST_PATIENTS for name in shown)
    if shown:
        # Studies add up exactly, so what the reader can subtract to is the studies of no shown group.
        remaining = {patient for name, patients in members.items() if name not in shown for patient in patients}
        assert not remaining or len(remaining) >= LEAST_PATIENTS
        assert len(hidden) != 1 or members[None]


@given(counts=st.dictionaries(st.sampled_from("abcdef"), st.integers(11, 500), min_size=1))
def test_nothing_is_hidden_where_every_group_is_large_and_recorded(counts: dict[str, int]) -> None:
    assert suppressed_groups(counts, total=sum(counts.values()), num_ungrouped=0) == frozenset()
