"""What an index holds after it was built, built again and withdrawn from."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import client.search.build
from client.policy.site_schema import SiteConfig
from client.search.audit import audit_index
from client.search.build import build, withdraw
from client.search.generation import alone, search_folder
from client.search.index import Gallery
from common.errors import ConfigError, DataError
from tests.client.search.conftest import NUM_PATIENTS, StandInModel, bytes_below, opened


def handles(site: SiteConfig, model: StandInModel) -> dict[str, str]:
    """Every handle of the index, by the study that it stands for."""
    index = opened(site, model)
    found = index.search(model.code(0), gallery=Gallery.REPORTS, k=len(index))
    return {index.study_of(hit.handle): hit.handle for hit in found}


def rows_without(folder: Path, study: str) -> None:
    """Take a study out of the manifest."""
    table = folder / "manifest.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    table.write_text("\n".join(line for line in lines if not line.startswith(f"{study},")) + "\n", encoding="utf-8")


def test_build_indexes_each_study_by_image_and_report(site: SiteConfig, model: StandInModel) -> None:
    built = build(site, model)
    assert (built.num_studies, built.num_images, built.num_left_out) == (NUM_PATIENTS + 1, NUM_PATIENTS + 1, 1)
    index = opened(site, model)
    (first,) = index.search(model.code(7), gallery=Gallery.IMAGES, k=1)
    assert (index.study_of(first.handle), first.distance) == ("s7", 0)
    (first,) = index.search(model.code(1099), gallery=Gallery.REPORTS, k=1)
    assert (index.study_of(first.handle), first.distance) == ("second", 0)


def test_second_build_encodes_only_what_is_new_or_changed_and_drops_what_is_gone(
    site: SiteConfig, model: StandInModel
) -> None:
    build(site, model)
    before = handles(site, model)
    model.num_images = 0
    assert build(site, model).num_encoded == 0
    assert model.num_images == 0, "the folder is as it was: nothing is even read"
    PIL.Image.fromarray(np.full((4, 4), 200, np.uint8)).save(site.data.root / "3.png")
    rows_without(site.data.root, "s4")
    with (site.data.root / "manifest.csv").open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow(("new", "p99", "5.png", "report 5", "F", "40"))
    built = build(site, model)
    assert (built.num_encoded, built.num_gone, built.num_studies) == (2, 1, NUM_PATIENTS + 1)
    assert model.num_images == 2
    after = handles(site, model)
    assert set(after) == set(before) - {"s4"} | {"new"}
    assert all(after[study] == before[study] for study in set(after) & set(before)), "handles stay"


def test_changed_age_is_a_change_of_the_study(site: SiteConfig, model: StandInModel) -> None:
    build(site, model)
    table = site.data.root / "manifest.csv"
    table.write_text(table.read_text().replace("report 2,F,40", "report 2,F,50"))
    assert build(site, model).num_encoded == 1


def test_public_studies_are_left_out(site: SiteConfig, model: StandInModel) -> None:
    table = site.data.root / "manifest.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    told = [lines[0] + ",site", lines[1] + ",public", *(f"{line},north" for line in lines[2:])]
    table.write_text("\n".join(told) + "\n", encoding="utf-8")
    assert build(site, model).num_studies == NUM_PATIENTS
    assert "s0" not in handles(site, model)


@pytest.mark.parametrize(
    ("studies", "patients", "gone"), [(["s3"], [], {"s3"}), ([], ["p0"], {"s0", "second"}), (["none"], [], set())]
)
def test_withdrawn_is_in_no_file_and_stays_out(
    site: SiteConfig, model: StandInModel, studies: list[str], patients: list[str], gone: set[str]
) -> None:
    build(site, model)
    before = handles(site, model)
    assert withdraw(site, studies=studies, patients=patients).num_gone == len(gone)
    left = bytes_below(search_folder(site))
    for number in {int(study[1:]) for study in gone if study.startswith("s") and study[1:].isdigit()}:
        assert model.code(number).tobytes() not in left
        assert model.code(1000 + number).tobytes() not in left
    assert model.code(5).tobytes() in left, "the control: what stays is found in this way"
    assert set(handles(site, model)) == set(before) - gone
    (site.data.root / "touched").touch()
    built = build(site, model)
    assert (built.num_studies, built.num_kept_out) == (NUM_PATIENTS + 1 - len(gone), len(gone))
    another = StandInModel("b" * 64)
    assert build(site, another).num_kept_out == len(gone), "another model does not bring it back"
    assert set(handles(site, another)) == set(before) - gone


def test_what_was_withdrawn_first_stays_out_when_more_is(site: SiteConfig, model: StandInModel) -> None:
    build(site, model)
    withdraw(site, studies=["s3"])
    withdraw(site, studies=["s5"])
    (site.data.root / "touched").touch()
    assert build(site, model).num_kept_out == 2


def test_withdrawn_patient_is_told_as_the_site_tells_patients(site: SiteConfig, model: StandInModel) -> None:
    folded = replace(site, data=replace(site.data, same_patients="folded"))
    build(folded, model)
    assert withdraw(folded, patients=["P0 "]).num_gone == 2
    assert withdraw(site, patients=["P3 "]).num_gone == 0, "the control: exact"


def test_same_studies_give_the_same_root_whatever_was_on_the_way(site: SiteConfig, model: StandInModel) -> None:
    table = site.data.root / "manifest.csv"
    whole = table.read_text(encoding="utf-8")
    rows_without(site.data.root, "s2")
    rows_without(site.data.root, "s9")
    head = build(site, model).head
    table.write_text(whole, encoding="utf-8")
    other = build(site, model).head
    assert other.root != head.root
    rows_without(site.data.root, "s9")
    rows_without(site.data.root, "s2")
    assert build(site, model).head.root == head.root


def test_withdrawing_needs_an_index_and_writing_needs_to_be_alone(site: SiteConfig, model: StandInModel) -> None:
    with pytest.raises(ConfigError, match="holds no index"):
        withdraw(site, studies=["s1"])
    build(site, model)
    with alone(search_folder(site), site=site.site, key=None), pytest.raises(DataError, match="another process"):
        build(site, model)


def test_model_that_gives_other_codes_than_it_says_is_refused(site: SiteConfig) -> None:
    liar = StandInModel()
    liar.code = lambda _: np.zeros(16, np.uint8)  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match="where codes of 64 bits"):
        build(site, liar)
    assert not list(search_folder(site).glob("*/images")), "nothing half-written"


def test_parts_are_written_on_the_way(site: SiteConfig, model: StandInModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.search.build, "STUDIES_A_PART", 4)
    monkeypatch.setattr(client.search.build, "_STUDIES_A_BATCH", 2)
    build_failing(site, after=9)
    half = opened(site, model)
    assert half.head.source == ""
    assert 4 <= len(half) < NUM_PATIENTS
    model.num_images = 0
    assert build(site, model).num_studies == NUM_PATIENTS + 1
    assert model.num_images == NUM_PATIENTS + 1 - len(half), "the next one goes on"
    checks = audit_index(search_folder(site), key=None)[1]
    assert all(check.error is None for check in checks)


def build_failing(site: SiteConfig, *, after: int) -> None:
    """Build with a model that fails after some images."""
    model = StandInModel()
    real: Callable[[int], np.ndarray] = model.code

    def code(seed: int) -> np.ndarray:
        if model.num_images > after:
            raise RuntimeError("power cut")
        return real(seed)

    model.code = code  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="power cut"):
        build(site, model)
