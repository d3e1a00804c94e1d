"""The one cut of a hospital's studies: the same for every run, public ones apart, and what stands against it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from client.check.site_cut import cut_site
from client.data.splits import PUBLIC_SITE, Role
from client.policy.site_schema import SiteData
from common.types import Lacks, StudyRecord


def records(num_patients: int, *, site: str = "north", start: int = 0) -> list[StudyRecord]:
    return [StudyRecord(f"s{n}", f"p{n}", "text", site=site) for n in range(start, start + num_patients)]


def data(**changes: object) -> SiteData:
    return SiteData(**{"name": "chest", "adapter": "manifest", "root": Path("nowhere"), **changes})  # type: ignore[arg-type]


@pytest.fixture
def split_file(tmp_path: Path) -> Path:
    header = "split_group,fixed,lopsided,untrained"
    rows = [header, "p0,train,train,test", "p1,test,train,test", "p2,public,train,test", "p3,train,train,test"]
    (tmp_path / "splits.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_cut_is_the_same_whatever_the_order() -> None:
    studies = records(30)
    assert cut_site(data(), studies, num_bad_rows=0) == cut_site(data(), studies[::-1], num_bad_rows=0)


def test_public_studies_take_no_part_in_the_draw() -> None:
    alone = cut_site(data(), records(30), num_bad_rows=0)
    among = cut_site(data(), records(30) + records(20, site=PUBLIC_SITE, start=30), num_bad_rows=0)
    assert {group: role for group, role in among.roles.items() if role is not Role.PUBLIC} == alone.roles
    assert len(among.patients[Role.PUBLIC]) == 20
    assert not among.problems


def test_fixed_split_is_followed(split_file: Path) -> None:
    cut = cut_site(data(root=split_file, split="fixed", least_patients=3), records(5), num_bad_rows=0)
    assert cut.patients == {Role.TRAIN: {"p0", "p3"}, Role.TEST: {"p1"}, Role.PUBLIC: {"p2"}}
    assert not cut.problems


def test_patient_on_two_sides_is_a_problem(split_file: Path) -> None:
    both = [*records(4), StudyRecord("s9", "p0", "text", split_group="p1")]
    cut = cut_site(data(root=split_file, split="fixed", least_patients=3), both, num_bad_rows=0)
    assert cut.num_on_two_sides == 1
    assert [problem.partition(" ")[0] for problem in cut.problems] == ["1"]


def test_patient_stays_on_their_side_when_the_report_comes() -> None:
    """Ten of forty have an image alone: who of them trains is told apart, and nobody moves when all have both."""
    lacking = [replace(record, report="", lacks=Lacks.REPORT) for record in records(10)]
    before = cut_site(data(), [*lacking, *records(30, start=10)], num_bad_rows=0)
    after = cut_site(data(), records(40), num_bad_rows=0)
    assert before.roles == after.roles
    assert before.lone == {f"p{n}" for n in range(10)} & after.patients[Role.TRAIN]
    assert before.patients[Role.TRAIN] | before.lone == after.patients[Role.TRAIN]
    assert (before.most_trained, after.lone) == (after.most_trained, frozenset())


def test_patient_whose_lone_half_stands_on_another_side_is_a_problem(split_file: Path) -> None:
    lone = StudyRecord("s9", "p0", "", split_group="p1", lacks=Lacks.REPORT)
    cut = cut_site(data(root=split_file, split="fixed", least_patients=3), [*records(4), lone], num_bad_rows=0)
    assert cut.num_on_two_sides == 1


@pytest.mark.parametrize(
    ("changes", "studies", "num_bad_rows", "said"),
    [
        ({}, [], 3, "no study can be read"),
        ({}, records(30), 1, "3.2% of the rows cannot be read"),
        ({"least_patients": 1}, records(1), 0, "too few"),
        ({}, records(4), 0, "4 patients are fewer than data.least_patients=5"),
        ({"split": "other"}, records(4), 0, "has no such split"),
        ({"split": "untrained", "least_patients": 1}, records(4), 0, "leaves no training patients"),
    ],
)
def test_what_cannot_be_used_is_said(
    split_file: Path, changes: dict[str, object], studies: list[StudyRecord], num_bad_rows: int, said: str
) -> None:
    cut = cut_site(data(root=split_file, **changes), studies, num_bad_rows=num_bad_rows)
    assert any(said in problem for problem in cut.problems)


def test_limit_of_bad_rows_is_the_site_s_own() -> None:
    assert not cut_site(data(max_bad_fraction=0.1), records(30), num_bad_rows=3).problems


def test_hospital_that_holds_nobody_out_may_train(split_file: Path) -> None:
    cut = cut_site(data(root=split_file, split="lopsided", least_patients=1), records(4), num_bad_rows=0)
    assert not cut.problems
    assert not cut.patients[Role.TEST]
