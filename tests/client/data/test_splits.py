"""Splits: no patient on two sides, whatever the groups, the order of the rows and the seed."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.data.splits import Role, read_splits, split_groups
from common.errors import ConfigError, DataError
from common.types import StudyRecord

PAIRS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=60)


def records_of(pairs: list[tuple[int, int]]) -> list[StudyRecord]:
    return [
        StudyRecord(study_id=str(i), patient_id=f"p{patient}", report="r", split_group=f"g{group}")
        for i, (patient, group) in enumerate(pairs)
    ]


def num_components(pairs: list[tuple[int, int]]) -> int:
    """Connected components of the patient-group graph, by flooding (the reference of the union-find)."""
    neighbours: dict[str, set[str]] = defaultdict(set)
    for patient, group in pairs:
        neighbours[f"p{patient}"].add(f"g{group}")
        neighbours[f"g{group}"].add(f"p{patient}")
    unseen, count = set(neighbours), 0
    while unseen:
        count += 1
        edge = {unseen.pop()}
        while edge:
            edge = set().union(*(neighbours[node] for node in edge)) & unseen
            unseen -= edge
    return count


def single_patients(count: int) -> list[StudyRecord]:
    return records_of([(i, i) for i in range(count)])


@given(pairs=PAIRS, seed=st.integers(0, 2**32), order=st.randoms(use_true_random=False))
def test_split_groups_never_cut_a_patient_and_ignore_the_order_of_rows(
    pairs: list[tuple[int, int]], seed: int, order: object
) -> None:
    records = records_of(pairs)
    if num_components(pairs) < 3:
        with pytest.raises(DataError, match="too few"):
            split_groups(records, seed=seed, public_fraction=0.2, test_fraction=0.2)
        return
    roles = split_groups(records, seed=seed, public_fraction=0.2, test_fraction=0.2)
    assert set(roles) == {record.split_group for record in records}
    assert set(roles.values()) == set(Role)
    sides: dict[str, set[Role]] = defaultdict(set)
    for record in records:
        sides[record.patient_id].add(roles[record.split_group])
    assert all(len(side) == 1 for side in sides.values())
    order.shuffle(records)  # type: ignore[attr-defined]
    assert split_groups(records, seed=seed, public_fraction=0.2, test_fraction=0.2) == roles


def test_split_groups_sizes_are_the_rounded_fractions() -> None:
    roles = split_groups(single_patients(101), seed=3, public_fraction=0.2, test_fraction=0.3)
    assert Counter(roles.values()) == {Role.PUBLIC: 20, Role.TEST: 30, Role.TRAIN: 51}


def test_split_groups_take_one_unit_where_a_fraction_rounds_to_none_and_none_where_it_is_zero() -> None:
    few = Counter(split_groups(single_patients(10), seed=3, public_fraction=0.01, test_fraction=0.0).values())
    assert few == {Role.PUBLIC: 1, Role.TRAIN: 9}


def test_split_groups_seeds_give_independent_splits() -> None:
    # n = 400 groups, half of them test under each of two seeds: the overlap is hypergeometric with mean 100
    # and standard deviation 5.0; +-30 is 6 sigma (alpha below 1e-8). The same seed is the negative control.
    def test_side(seed: int) -> set[str]:
        roles = split_groups(single_patients(400), seed=seed, public_fraction=0.0, test_fraction=0.5)
        return {group for group, role in roles.items() if role is Role.TEST}

    assert abs(len(test_side(1) & test_side(2)) - 100) < 30
    assert len(test_side(1) & test_side(1)) == 200


def test_split_groups_a_new_patient_moves_few_of_the_others() -> None:
    before = split_groups(single_patients(200), seed=7, public_fraction=0.2, test_fraction=0.2)
    after = split_groups(single_patients(201), seed=7, public_fraction=0.2, test_fraction=0.2)
    assert sum(before[group] != after[group] for group in before) <= 2


@pytest.mark.parametrize(("public", "test"), [(-0.1, 0.2), (0.2, -0.1), (0.5, 0.5), (float("nan"), 0.2)])
def test_split_groups_refuse_fractions_that_leave_nothing_to_train_on(public: float, test: float) -> None:
    with pytest.raises(ConfigError, match=r"data\.public_fraction, data\.test_fraction"):
        split_groups(single_patients(10), seed=0, public_fraction=public, test_fraction=test)


def test_read_splits_reads_one_column(tmp_path: Path) -> None:
    path = tmp_path / "splits.csv"
    path.write_text("split_group,split_1,split_2\nG0,public,train\nG1,test,public\n", encoding="utf-8")
    assert read_splits(path, split="split_1") == {"G0": Role.PUBLIC, "G1": Role.TEST}
    assert read_splits(path, split="split_2") == {"G0": Role.TRAIN, "G1": Role.PUBLIC}


@pytest.mark.parametrize("split", ["split_3", "split_group"])
def test_read_splits_unknown_column_names_the_near_ones(tmp_path: Path, split: str) -> None:
    path = tmp_path / "splits.csv"
    path.write_text("split_group,split_1\nG0,public\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"data\.split={split}: .*did you mean split_1\?"):
        read_splits(path, split=split)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("G0,public\nG0,train\n", "line 3: split_group is blank or repeated"),
        (",public\n", "line 2: split_group is blank or repeated"),
        ("G0,Public\n", "line 2: split_1 is not one of public, train, test"),
        ("G0\n", "line 2: the row has 1 fields"),
    ],
)
def test_read_splits_refuses_a_file_that_is_not_whole(tmp_path: Path, body: str, message: str) -> None:
    path = tmp_path / "splits.csv"
    path.write_text(f"split_group,split_1\n{body}", encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_splits(path, split="split_1")
