"""`wardround search`: every hospital's answer over a run's folder, and what cannot be searched."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import wardround
from common.hashing.codes import unpack
from common.model import load_model
from common.model.form import RELEVANCE_FILE
from common.model.relevance import parsed_relevance, write_relevance
from simulations.search.building import own_rows, studies_of
from simulations.search.opened_run import open_run
from tests.common.retrieval.test_relevance import STEPS, curve_with, relevance_with
from tests.conftest import FinishedRun

TEXT = "Small left pleural effusion."


@dataclass(frozen=True)
class Ended:
    """How the command ended."""

    code: int
    out: str
    err: str

    @property
    def told(self) -> dict[str, Any]:
        """Its JSON object."""
        told: dict[str, Any] = json.loads(self.out)
        return told


Search = Callable[..., Ended]


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Search:
    """Runs the command in this process."""

    def run(folder: Path, *options: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["wardround", "search", "--run", str(folder), *map(str, options)])
        with pytest.raises(SystemExit) as end:
            wardround.main()
        captured = capsys.readouterr()
        return Ended(int(end.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def run_folder(finished_run: FinishedRun, tmp_path: Path) -> Path:
    """A copy of a finished run, to be written in."""
    return Path(shutil.copytree(finished_run.folder, tmp_path / "run"))


def test_search_finds_what_a_scan_of_all_codes_finds(search: Search, run_folder: Path) -> None:
    """The reference encodes and compares all studies of the cohort in NumPy, without index, desk or merging."""
    told = search(run_folder, "--text", TEXT, "--k", "7", "--gallery", "reports", "--json").told
    run = open_run(run_folder)
    consortium = studies_of(run, progress=lambda _: None)
    rows = [i for site in consortium.sites for i in own_rows(consortium, site)]
    records = [consortium.records[i] for i in rows]
    query = unpack(run.model.encode_texts([TEXT]))[0]
    codes = unpack(run.model.encode_texts([record.report for record in records]))
    distances = (codes != query).sum(axis=1)
    farthest = np.sort(distances)[6]
    expected = {
        (record.site, record.study_id, int(distance))
        for record, distance in zip(records, distances, strict=True)
        if distance <= farthest
    }
    found = [(hit["site"], hit["study"], hit["distance"]) for hit in told["hits"]]
    assert len(found) >= 7
    assert set(found) == expected
    assert [hit["distance"] for hit in told["hits"]] == sorted(hit["distance"] for hit in told["hits"])
    findings = {record.study_id: list(record.findings) for record in records}
    assert all(hit["findings"] == findings[hit["study"]] for hit in told["hits"])
    assert told["sites_asked"] == told["sites_answered"] == sorted(consortium.sites)
    assert not told["partial"]


def test_each_hit_is_told_how_sure_it_is(search: Search, run_folder: Path) -> None:
    kept = parsed_relevance(run_folder / RELEVANCE_FILE)
    curve = curve_with((replace(STEPS[1], nearest=0, farthest=64),), gallery="reports")
    write_relevance(run_folder, relevance_with(curve, model=kept.model))
    told = search(run_folder, "--text", TEXT, "--gallery", "reports", "--json").told
    about = {"word": "about", "probability": 0.62, "low": 0.5, "high": 0.7}
    assert [hit["relevance"] for hit in told["hits"]] == [about] * len(told["hits"]), "a simulation rounds nothing"
    images = search(run_folder, "--text", TEXT, "--json").told
    assert {hit["relevance"] for hit in images["hits"]} == {None}, "that kind of search was not measured"
    shown = search(run_folder, "--text", TEXT, "--gallery", "reports").out
    assert "about 62%" in shown
    assert "1,150 public pairs" in shown


def test_picture_of_a_study_finds_that_study_first(search: Search, run_folder: Path) -> None:
    consortium = studies_of(open_run(run_folder), progress=lambda _: None)
    (position, picture), *_ = sorted(consortium.pictures.items())
    PIL.Image.fromarray(picture).save(run_folder.parent / "query.png")
    told = search(run_folder, "--image", run_folder.parent / "query.png", "--k", "1", "--json").told
    assert told["hits"][0]["distance"] == 0
    assert consortium.records[position].study_id in {hit["study"] for hit in told["hits"]}


def test_second_search_reads_no_studies_and_tells_the_same_by_the_same_handles(
    search: Search, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = search(run_folder, "--text", TEXT, "--json").told
    monkeypatch.setattr("simulations.search.building.build_all", None)
    assert search(run_folder, "--text", TEXT, "--json").told == first
    assert (run_folder / "search").stat().st_mode & 0o077 == 0


def test_hospital_whose_index_is_damaged_makes_the_answer_partial(search: Search, run_folder: Path) -> None:
    assert not search(run_folder, "--text", TEXT, "--json").told["partial"]
    (damaged,) = (run_folder / "search").glob("*/sites/1/*/reports*")
    content = bytearray(damaged.read_bytes())
    content[0] ^= 1
    damaged.write_bytes(content)
    ended = search(run_folder, "--text", TEXT, "--json")
    told = ended.told
    assert ended.code == 0
    assert told["partial"]
    assert [one["reason"] for one in told["silent"]] == ["trust"]
    assert set(told["sites_answered"]) == set(told["sites_asked"]) - {told["silent"][0]["site"]}
    assert not {hit["site"] for hit in told["hits"]} & {told["silent"][0]["site"]}


def test_run_that_stands_for_its_start_is_searched_with_it_and_says_so(search: Search, run_folder: Path) -> None:
    summary = json.loads((run_folder / "summary.json").read_text())
    (run_folder / "summary.json").write_text(json.dumps({**summary, "published": "start"}))
    assert "is of another model than the run stands for" in search(run_folder, "--text", TEXT).err
    (run_folder / "relevance.json").unlink()
    ended = search(run_folder, "--text", TEXT)
    assert ended.code == 0
    assert "public start" in ended.out
    assert search(run_folder, "--text", TEXT, "--json").told["published"] == "start"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "--text, --image: give one"),
        (("--text", " "), "--text: is empty"),
        (("--text", "x" * 10_001), "10,001 characters"),
        (("--image", "nowhere.png"), "nowhere.png: is no file"),
        (("--image", __file__), "cannot be decoded"),
        (("--text", TEXT, "--certified"), "give --image"),
    ],
)
def test_query_that_cannot_be_used_is_one_line(
    search: Search, run_folder: Path, options: tuple[str, ...], said: str
) -> None:
    ended = search(run_folder, *options)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert len(ended.err.splitlines()) == 1


def test_picture_of_nan_is_refused_and_the_longest_text_is_not(search: Search, run_folder: Path) -> None:
    picture = run_folder.parent / "nan.tiff"
    PIL.Image.fromarray(np.full((32, 32), np.nan, np.float32)).save(picture)
    refused = search(run_folder, "--image", picture)
    assert refused.code == 2
    assert str(picture) in refused.err
    assert search(run_folder, "--text", "x" * 10_000, "--json").code == 0


def test_folder_that_is_no_run_or_has_not_ended_is_refused(search: Search, run_folder: Path, tmp_path: Path) -> None:
    assert search(tmp_path / "nowhere", "--text", TEXT).code == 2
    (run_folder / "summary.json").unlink()
    unfinished = search(run_folder, "--text", TEXT)
    assert unfinished.code == 1
    assert "has not ended" in unfinished.err


def test_certified_needs_the_noise_of_the_run(search: Search, run_folder: Path, tmp_path: Path) -> None:
    picture = tmp_path / "grey.png"
    PIL.Image.fromarray(np.full((32, 32), 90, np.uint8)).save(picture)
    ended = search(run_folder, "--image", picture, "--certified")
    assert ended.code == 2
    assert "certificate.deviation" in ended.err


def test_kept_model_is_the_one_that_the_run_stands_for(run_folder: Path) -> None:
    run = open_run(run_folder)
    assert load_model(run.kept / "model").digest == run.model.digest
    assert open_run(run_folder).kept == run.kept
