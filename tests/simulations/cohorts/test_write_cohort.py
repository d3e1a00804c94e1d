"""A cohort folder: the same bytes for the same plan, whole or absent, read by the production adapter."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from client.data.manifest import manifest
from common.errors import ConfigError, DataError
from common.files import sha256_of_file
from common.types import Study
from simulations.cohorts import write
from simulations.cohorts.patients import PhantomStudy
from simulations.cohorts.plan import CohortPlan
from simulations.cohorts.write import draw_cohort, write_cohort

PLAN = CohortPlan(
    num_sites=3,
    patients_per_site=25,
    public_patients=15,
    image_size=48,
    site_shift=0.6,
    confounder=True,
    seed=9,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(PLAN, tmp_path_factory.mktemp("cohorts") / "cohort")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_cohort_of_the_same_plan_has_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    assert contents(write_cohort(PLAN, tmp_path / "again")) == contents(folder)


def test_cohort_of_another_seed_has_other_patients_and_other_pixels(folder: Path, tmp_path: Path) -> None:
    other = contents(write_cohort(replace(PLAN, seed=10), tmp_path / "other"))
    same = contents(folder)
    assert same["manifest.csv"] != other["manifest.csv"]
    assert not any(same[name] == other[name] for name in same.keys() & other.keys())


def test_cohort_of_more_sites_holds_the_same_files(folder: Path, tmp_path: Path) -> None:
    larger = contents(write_cohort(replace(PLAN, num_sites=4, public_patients=16), tmp_path / "larger"))
    images = {name: content for name, content in contents(folder).items() if name.startswith("images/")}
    assert images.items() <= larger.items()
    lines = contents(folder)["manifest.csv"].splitlines()
    assert set(lines) <= set(larger["manifest.csv"].splitlines())


def test_manifest_is_read_by_the_production_adapter_without_a_bad_row(folder: Path) -> None:
    items = list(manifest(folder, allow_burned_in=False).studies())
    assert all(isinstance(item, Study) for item in items)
    truth = {study.study_id: study for study in draw_cohort(PLAN)}
    for item, row in zip(items, rows(folder / "manifest.csv"), strict=True):
        assert isinstance(item, Study)
        study = truth[item.record.study_id.split("-view")[0]]
        assert item.image.shape == (48, 48)
        assert item.image.dtype == np.uint8
        assert item.record.report == study.report
        assert (item.record.sex, item.record.age) == (study.patient.sex, study.patient.age)
        assert set(item.record.findings) == set(study.finding_names)
        assert item.record.split_group == item.record.patient_id == row["split_group"]


def test_images_are_grey_and_eight_bit(folder: Path) -> None:
    for path in folder.glob("images/*/*.png"):
        with PillowImage.open(path) as image:
            assert (image.mode, image.size) == ("L", (48, 48))


def test_truth_has_a_row_for_each_study_and_agrees_with_the_manifest(folder: Path) -> None:
    pairs = zip(rows(folder / "manifest.csv"), rows(folder / "truth.csv"), strict=True)
    for listed, true in pairs:
        assert listed["study_id"] == true["study_id"]
        assert listed["scanner"] == true["scanner"]
        findings = [name for name in listed["findings"].split(";") if name]
        graded = [column for column in true if column.endswith("_severity") and true[column]]
        assert {column.removesuffix("_severity").replace("_", " ") for column in graded} == set(findings)
        for name in findings:
            assert true[f"{name.replace(' ', '_')}_present"] == "1"


def test_second_views_share_report_and_split_group_but_not_pixels(folder: Path) -> None:
    by_id = {row["study_id"]: row for row in rows(folder / "manifest.csv")}
    views = [name for name in by_id if name.endswith("-view2")]
    assert views
    for name in views:
        first, second = by_id[name.removesuffix("-view2")], by_id[name]
        shared = ("report", "split_group", "patient_id", "findings", "scanner", "site")
        assert all(first[column] == second[column] for column in shared)
        assert (folder / first["image_path"]).read_bytes() != (folder / second["image_path"]).read_bytes()


def test_cohort_json_holds_plan_and_digests(folder: Path) -> None:
    described = json.loads((folder / "cohort.json").read_bytes())
    assert CohortPlan(**described["plan"]) == PLAN
    assert described["manifest_sha256"] == sha256_of_file(folder / "manifest.csv")
    assert described["num_studies"] == len(rows(folder / "manifest.csv"))


def refuse_to_draw(plan: CohortPlan) -> None:
    raise AssertionError(f"drawn again: {plan}")


def test_folder_of_the_same_plan_is_reused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "draw_cohort", refuse_to_draw)
    assert write_cohort(PLAN, folder) == folder


def test_folder_of_another_plan_is_refused_and_left_alone(folder: Path) -> None:
    before = contents(folder)
    with pytest.raises(ConfigError, match="not a cohort of this plan; name another folder"):
        write_cohort(replace(PLAN, seed=10), folder)
    assert contents(folder) == before


@pytest.mark.parametrize("name", ["notes.txt", "cohort.json"])
def test_folder_of_something_else_is_refused_and_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("[1]")
    with pytest.raises(ConfigError, match="not a cohort of this plan"):
        write_cohort(PLAN, tmp_path)
    assert contents(tmp_path) == {name: b"[1]"}


def test_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cohort").write_text("mine")
    with pytest.raises(ConfigError, match="not a cohort of this plan"):
        write_cohort(PLAN, tmp_path / "cohort")


TINY = replace(PLAN, num_sites=1, patients_per_site=3, public_patients=0)


@pytest.mark.parametrize("damaged", ["manifest.csv", "truth.csv", "image"])
@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_damaged_cohort_is_found_when_it_is_reused(tmp_path: Path, damaged: str, damage: str) -> None:
    folder = write_cohort(TINY, tmp_path / "cohort")
    path = next(folder.glob("images/*/*.png")) if damaged == "image" else folder / damaged
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(DataError, match="remove the folder and draw it again"):
        write_cohort(TINY, folder)


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_interrupted_writing_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: type[BaseException]
) -> None:
    drawn: list[PhantomStudy] = []

    def fail_at_the_third(study: PhantomStudy, *, size: int, seed: int) -> list[write.Image]:
        drawn.append(study)
        if len(drawn) == 3:
            raise failure
        return original(study, size=size, seed=seed)

    original = write.render_views
    monkeypatch.setattr(write, "render_views", fail_at_the_third)
    with pytest.raises(failure):
        write_cohort(PLAN, tmp_path / "deep" / "cohort")
    assert list((tmp_path / "deep").iterdir()) == []


def test_cohort_that_another_process_finished_first_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose_the_race(plan: CohortPlan, draft: Path) -> None:
        original(plan, draft)
        monkeypatch.setattr(write, "_write_files", original)
        write_cohort(plan, tmp_path / "cohort")

    original = write._write_files
    monkeypatch.setattr(write, "_write_files", lose_the_race)
    assert write_cohort(TINY, tmp_path / "cohort") == tmp_path / "cohort"
    assert [path.name for path in tmp_path.iterdir()] == ["cohort"]


def test_missing_reports_are_of_every_second_site_and_nothing_else_changes(folder: Path, tmp_path: Path) -> None:
    """Each study's own draw: so many are gone as a binomial allows (four deviations: 1 alarm in 15,000)."""
    lacking = write_cohort(replace(PLAN, unpaired=0.4), tmp_path / "lacking")
    whole, found = (rows(place / "manifest.csv") for place in (folder, lacking))
    gone = [row["report"] == "" for row in found]
    assert all(old | {"report": new["report"]} == new for old, new in zip(whole, found, strict=True))
    assert all(new["report"] in ("", old["report"]) for old, new in zip(whole, found, strict=True))
    first, second, third, public = (
        [lost for lost, row in zip(gone, whole, strict=True) if row["site"] == site]
        for site in (*PLAN.site_names, "public")
    )
    assert not any(second + public)
    asked = first + third
    assert abs(sum(asked) - 0.4 * len(asked)) < 4 * (0.24 * len(asked)) ** 0.5
    pixels = {name: content for name, content in contents(lacking).items() if name.endswith((".png", "truth.csv"))}
    assert pixels.items() <= contents(folder).items()


def test_cohort_with_all_reports_is_described_as_before_there_were_others() -> None:
    assert "unpaired" not in PLAN.description
    assert replace(PLAN, unpaired=0.4).description["unpaired"] == 0.4
