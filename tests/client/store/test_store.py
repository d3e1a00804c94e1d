"""Prepared studies: encoded once, whoever is killed; refused where they change; found again or not at all."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from client.deploy.own_studies import check_listed
from client.policy.site_config import study_folder
from client.policy.site_schema import SiteConfig
from client.store.store import PREPARED_FOLDER, STUDIES_A_STEP, PreparedElsewhere, StudyStore
from common.errors import DataError
from common.types import StudyRecord
from tests.client.store.conftest import NUM_OWN, NUM_PUBLIC, CountingEncoder

OpenStore = Callable[[], StudyStore]


def test_store_is_open_once_all_is_prepared_and_gives_what_the_encoder_made(
    open_store: OpenStore, encoder: CountingEncoder
) -> None:
    assert open_store().open() is None
    progress = list(open_store().prepare())
    assert [(step.done, step.total) for step in progress][-1] == (NUM_OWN + NUM_PUBLIC,) * 2
    assert [step.done for step in progress] == sorted(step.done for step in progress)
    prepared = open_store().open()
    assert prepared is not None
    assert [record.study_id for record in prepared.records] == [f"s{n}" for n in range(NUM_OWN)]
    assert prepared.images[:, 0].tolist() == [float(n) for n in range(NUM_OWN)]
    assert prepared.reports[:, 0].tolist() == [float(len(f"report {n}")) for n in range(NUM_OWN)]
    assert torch.equal(prepared.anchors.features.images, prepared.images[:NUM_PUBLIC])
    # Five of the hospital's own pictures are those of the public studies.
    assert sorted(encoder.images) == list(range(NUM_OWN))


def test_opened_store_encodes_and_decodes_nothing(
    open_store: OpenStore, encoder: CountingEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(open_store().prepare())
    encoder.images.clear()
    monkeypatch.setattr("client.data.view_files.decode_picture", lambda *_: pytest.fail("decoded"))
    assert open_store().open() is not None
    assert not encoder.images


def test_unpaired_studies_are_neither_prepared_nor_counted_as_bad_rows(open_store: OpenStore, site: SiteConfig) -> None:
    with (site.data.root / "manifest.csv").open("a", encoding="utf-8") as table:
        table.write("u1,p1,0.png,,F,40\nu2,p2,,text,F,40\nbad,p3,gone.png,text,F,40\n")
    progress = list(open_store().prepare())
    assert progress[-1].done == progress[-1].total == NUM_OWN + NUM_PUBLIC + 3
    prepared = open_store().open()
    assert prepared is not None
    assert (len(prepared.records), prepared.num_bad_rows) == (NUM_OWN, 1)


def test_folder_of_unpaired_studies_alone_is_refused_before_an_image_is_decoded(site: SiteConfig) -> None:
    (site.data.root / "manifest.csv").write_text("study_id,patient_id,image_path,report\nu1,p1,0.png,\n")
    with pytest.raises(DataError, match="no study has both a report and an image: 1 without report") as caught:
        check_listed(site, study_folder(site.data).records())
    assert "column report" in str(caught.value)


@pytest.mark.parametrize("steps", range(1, 6))
def test_killed_at_any_step_nothing_is_encoded_twice(
    open_store: OpenStore, encoder: CountingEncoder, steps: int
) -> None:
    """The last step is whole: what is lost to a kill is the batch in flight, which no step ended with."""
    begun = open_store().prepare()
    for _ in range(steps):
        next(begun)
    begun.close()  # what a killed process leaves: its shards, and a lock that the system let go of
    assert open_store().open() is None
    list(open_store().prepare())
    assert open_store().open() is not None
    assert sorted(encoder.images) == list(range(NUM_OWN))
    assert len(encoder.reports) == NUM_OWN


def test_kill_within_a_batch_costs_that_batch_alone(
    open_store: OpenStore, encoder: CountingEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = encoder.image_features, []

    def killed(images: object) -> torch.Tensor:
        calls.append(real(images))  # type: ignore[arg-type]
        if len(calls) == 3:
            raise KeyboardInterrupt
        return calls[-1]

    monkeypatch.setattr(encoder, "image_features", killed)
    with pytest.raises(KeyboardInterrupt):
        list(open_store().prepare())
    list(open_store().prepare())
    assert len(encoder.images) == NUM_OWN + STUDIES_A_STEP
    assert open_store().open() is not None


def test_studies_that_change_while_they_are_read_are_refused(open_store: OpenStore, site: SiteConfig) -> None:
    begun = open_store().prepare()
    next(begun)
    (site.data.root / "late.png").write_bytes((site.data.root / "0.png").read_bytes())
    with pytest.raises(DataError, match="studies: changed while it was being prepared"):
        list(begun)
    assert open_store().open() is None
    list(open_store().prepare())
    assert open_store().open() is not None


@pytest.mark.parametrize("what", ["a study more", "a picture replaced", "a picture gone", "the public ones", "splits"])
def test_studies_that_changed_since_are_not_prepared_and_only_what_is_new_is_encoded(
    open_store: OpenStore, encoder: CountingEncoder, site: SiteConfig, what: str
) -> None:
    list(open_store().prepare())
    encoder.images.clear()
    root, anchors = site.data.root, Path(site.anchors.root)
    match what:
        case "a study more":
            with (root / "manifest.csv").open("a", newline="") as file:
                csv.writer(file).writerow(("new", "new", "3.png", "another report", "M", "50"))
        case "a picture replaced":
            (root / "3.png").write_bytes((root / "4.png").read_bytes())
        case "a picture gone":
            (root / "3.png").unlink()
        case "the public ones":
            os.utime(anchors / "0.png", ns=(1, 1))
        case "splits":
            (root / "splits.csv").write_text("split_group,fixed\n")
    assert open_store().open() is None
    list(open_store().prepare())
    assert open_store().open() is not None
    assert not encoder.images


def test_state_folder_among_the_studies_is_no_change(open_store: OpenStore, site: SiteConfig) -> None:
    object.__setattr__(site, "state_folder", site.data.root / "state")
    list(open_store().prepare())
    assert open_store().open() is not None


@pytest.mark.parametrize("damage", ["cut", "flipped", "another format", "a shard gone", "a shard flipped"])
def test_damaged_store_is_not_prepared_and_is_mended(open_store: OpenStore, site: SiteConfig, damage: str) -> None:
    list(open_store().prepare())
    (index,) = (site.state_folder / PREPARED_FOLDER).glob("*.json")
    shard = max((site.state_folder / "features").rglob("*.safetensors"), key=lambda path: path.stat().st_size)
    content = index.read_bytes()
    match damage:
        case "cut":
            index.write_bytes(content[: len(content) // 2])
        case "flipped":
            index.write_bytes(content.replace(b"report 1", b"report 9", 1))
        case "another format":
            index.write_bytes(content.replace(b'"format": 1', b'"format": 2'))
        case "a shard gone":
            shard.unlink()
        case "a shard flipped":
            stored = bytearray(shard.read_bytes())
            stored[-1] ^= 1
            shard.write_bytes(stored)
    assert open_store().open() is None
    list(open_store().prepare())
    assert open_store().open() is not None


def test_index_is_readable_by_its_owner_alone(open_store: OpenStore, site: SiteConfig) -> None:
    list(open_store().prepare())
    folder = site.state_folder / PREPARED_FOLDER
    (index,) = folder.glob("*.json")
    assert (folder.stat().st_mode & 0o777, index.stat().st_mode & 0o777) == (0o700, 0o600)


def test_other_public_studies_than_the_runs_end_it_before_a_private_one_is_read(
    open_store: OpenStore, encoder: CountingEncoder
) -> None:
    with pytest.raises(DataError, match="public: holds other public studies than the run was made with"):
        list(open_store().prepare(anchors="0" * 64))
    assert sorted(encoder.images) == list(range(NUM_PUBLIC))


def test_two_do_not_prepare_at_the_same_time(open_store: OpenStore, site: SiteConfig) -> None:
    lock = site.state_folder / PREPARED_FOLDER / ".lock"
    lock.parent.mkdir(parents=True)
    holder = (
        "import fcntl, os, sys; d = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT); fcntl.flock(d, fcntl.LOCK_EX); "
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(PreparedElsewhere):
            list(open_store().prepare())
        process.kill()
    list(open_store().prepare())
    assert open_store().open() is not None


def test_time_left_is_told_by_what_had_to_be_encoded(
    open_store: OpenStore, encoder: CountingEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("client.store.store.time.monotonic", lambda: clock[0])
    real = encoder.image_features

    def slow(images: object) -> torch.Tensor:
        found = real(images)  # type: ignore[arg-type]
        clock[0] += float(len(found))
        return found

    monkeypatch.setattr(encoder, "image_features", slow)
    begun = open_store().prepare()
    assert next(begun).seconds_left is None
    assert next(begun).seconds_left == pytest.approx(NUM_OWN)  # a second a study, the five public ones are done
    clock[0] += 1000.0  # the worker answers a message meanwhile
    assert next(begun).seconds_left == pytest.approx(0.8 * 38 + 0.2 * 38 * 27 / 32)


def test_listed_studies_are_those_of_the_table(open_store: OpenStore) -> None:
    assert [item.study_id for item in open_store().listed() if isinstance(item, StudyRecord)][-1] == f"s{NUM_OWN - 1}"
