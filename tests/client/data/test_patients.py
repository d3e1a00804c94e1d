"""Identifiers that may be one patient's: counted, and folded where the hospital says so."""

from __future__ import annotations

from itertools import combinations

from hypothesis import example, given
from hypothesis import strategies as st

from client.data.patients import FOLDED, folded, num_alike, with_patients
from common.types import StudyRecord


def test_case_width_white_space_and_leading_zeros_are_folded_and_nothing_else() -> None:
    one = ["P7", "p7", "P7 ", "P 7", "\uff30\uff17", "P\u00a07"]
    assert {folded(name) for name in one} == {"p7"}
    assert {folded(name) for name in ("7", "007", " 07")} == {"7"}
    assert folded("000") == "0"
    assert len({folded(name) for name in ("P7", "P07", "P70", "7P", "P-7", "Q7")}) == 6


@given(st.text())
@example("R\u00b8")
def test_folding_is_idempotent(name: str) -> None:
    assert folded(folded(name)) == folded(name)


@given(st.lists(st.text(alphabet="aA0 7\uff17", max_size=4), max_size=8))
def test_alike_are_the_pairs_that_fold_to_the_same(names: list[str]) -> None:
    assert num_alike(names) == sum(folded(a) == folded(b) for a, b in combinations(set(names), 2))


def test_split_group_of_a_folded_patient_stays() -> None:
    record = with_patients(StudyRecord("s", "P 7", "r"), same_patients=FOLDED)
    assert (record.patient_id, record.split_group) == ("p7", "P 7")
