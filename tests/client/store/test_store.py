"""Prepared studies: encoded once, whoever is killed; refused where they change; found again or not at all."""

from __future__ import annotations

import csv
import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pytest
import torch

from client.data.folder import StudyFolder
from client.data.splits import Role
from client.deploy.own_studies import OwnStudies, check_listed
from client.policy.site_config import study_folder
from client.policy.site_schema import SiteConfig
from client.store.check import Whole, check_whole
from client.store.store import PREPARED_FOLDER, STUDIES_A_STEP, PreparedElsewhere, StudyStore
from common.config.load import load_config
from common.config.schema import RunConfig
from common.errors import DataError
from common.types import BadRow, Lacks, Study, StudyRecord
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
    assert prepared.images[:][:, 0].tolist() == [float(n) for n in range(NUM_OWN)]
    assert prepared.reports[:][:, 0].tolist() == [float(len(f"report {n}")) for n in range(NUM_OWN)]
    assert prepared.texts([3, 69]) == ["report 3", "report 69"]
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


def test_unpaired_studies_are_prepared_with_a_blank_and_are_no_bad_rows(
    open_store: OpenStore, site: SiteConfig
) -> None:
    with (site.data.root / "manifest.csv").open("a", encoding="utf-8") as table:
        table.write("u1,p1,0.png,,F,40\nu2,p2,,text,F,40\nbad,p3,gone.png,text,F,40\n")
    progress = list(open_store().prepare())
    assert progress[-1].done == progress[-1].total == NUM_OWN + NUM_PUBLIC + 3
    prepared = open_store().open()
    assert prepared is not None
    assert (len(prepared.records), prepared.num_bad_rows) == (NUM_OWN + 2, 1)
    assert [record.lacks for record in prepared.records] == [None] * NUM_OWN + [Lacks.REPORT, Lacks.IMAGE]
    assert prepared.texts([NUM_OWN, NUM_OWN + 1]) == ["", "text"]
    assert (len(prepared.images), len(prepared.reports)) == (NUM_OWN + 2, NUM_OWN + 2)


def test_unpaired_studies_train_where_the_loss_names_them_and_are_measured_in_no_run(
    open_store: OpenStore, site: SiteConfig
) -> None:
    """Lone halves of all patients that train, of one who is held out, and of one who has nothing else."""
    patients = [f"p{i}" for i in range(NUM_OWN)]
    with (site.data.root / "manifest.csv").open("a", encoding="utf-8") as table:
        table.writelines(f"u-{patient},{patient},{number}.png,,F,40\n" for number, patient in enumerate(patients[:4]))
        table.writelines(f"alone-{number},new{number},,text,F,40\n" for number in range(8))
    list(open_store().prepare())
    prepared = open_store().open()
    assert prepared is not None
    losses = {name: load_config([f"loss.name=anchor_contrast{name}"]).loss for name in ("", "+unpaired")}
    without, with_them = (OwnStudies.of(site, prepared, loss) for loss in losses.values())
    trained = {record.patient_id for record in with_them.private_records()}
    held_out = {record.patient_id for record in with_them.held_out().records}
    assert all(record.lacks is None for record in without.private_records())
    assert {record.lacks for record in with_them.private_records()} == {None, Lacks.IMAGE, Lacks.REPORT}
    assert trained == set(with_them.cut.patients[Role.TRAIN] | with_them.cut.lone)
    assert not trained & held_out
    assert held_out == {record.patient_id for record in without.held_out().records}
    halves = with_them.private().halves
    assert halves is not None
    lacks = [record.lacks for record in with_them.private_records()]
    assert halves.tolist() == [[which is not Lacks.IMAGE, which is not Lacks.REPORT] for which in lacks]
    assert without.private().halves is None


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


def flip_last(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def rot_last(path: Path) -> None:
    """A bit flips, and the system notes nothing."""
    found = path.stat()
    flip_last(path)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


DAMAGE: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "index cut": ("*.json", lambda path: os.truncate(path, 100), ""),
    "index flipped": ("*.json", lambda path: path.write_bytes(path.read_bytes().replace(b"images", b"imagos", 1)), ""),
    "another format": ("*.json", lambda path: path.write_bytes(path.read_bytes().replace(b": 3", b": 4", 1)), ""),
    "table cut": ("*.sqlite", lambda path: os.truncate(path, 4096), "is not what was written"),
    "table flipped": ("*.sqlite", flip_last, "is not what was written"),
    "images flipped": ("*.images.npy", flip_last, "is not what was written"),
    "images gone": ("*.images.npy", Path.unlink, "cannot be read"),
    "images cut": ("*.images.npy", lambda path: os.truncate(path, path.stat().st_size - 1), "bytes where its header"),
    "images empty": ("*.images.npy", lambda path: os.truncate(path, 0), "is no array of studies"),
    "reports of others": ("*.reports.npy", lambda path: np.save(path, np.zeros((3, 4), np.float32)), "is not what was"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_store_is_not_prepared_says_why_in_a_line_and_is_mended(
    open_store: OpenStore, site: SiteConfig, encoder: CountingEncoder, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    list(open_store().prepare())
    name, harm, message = DAMAGE[damage]
    (path,) = (site.state_folder / PREPARED_FOLDER).glob(name)
    harm(path)
    assert open_store().open() is None
    assert [message in line and path.name in line for line in caplog.messages] == [True] * bool(message)
    encoder.reports.clear()
    list(open_store().prepare())
    assert open_store().open() is not None
    if name == "*.images.npy":
        assert not encoder.reports, "what was not damaged is found in the array of before"


def test_rotten_array_is_found_by_its_digest_and_never_copied(
    open_store: OpenStore, site: SiteConfig, encoder: CountingEncoder
) -> None:
    """A bit that flips is not seen at open; who prepares anew looks, and so does `site check --deep`."""
    list(open_store().prepare())
    (path,) = (site.state_folder / PREPARED_FOLDER).glob("*.images.npy")
    rot_last(path)
    assert open_store().open() is not None
    with pytest.raises(DataError, match=r"images\.npy: is not what was written; delete it"):
        check_whole(site.state_folder)
    encoder.images.clear()
    os.utime(site.data.root / "3.png", ns=(1, 1))
    list(open_store().prepare())
    assert sorted(encoder.images) == list(range(NUM_OWN))
    assert check_whole(site.state_folder) == [Whole(num_studies=NUM_OWN, num_public=NUM_PUBLIC, num_bytes=ANY)]


def test_array_that_was_copied_is_read_in_full_and_taken(open_store: OpenStore, site: SiteConfig) -> None:
    list(open_store().prepare())
    (path,) = (site.state_folder / PREPARED_FOLDER).glob("*.images.npy")
    os.utime(path, ns=(1, 1))
    assert open_store().open() is not None


def test_store_of_another_encoder_is_refused_in_a_line(
    open_store: OpenStore, site: SiteConfig, caplog: pytest.LogCaptureFixture
) -> None:
    list(open_store().prepare())
    (index,) = (site.state_folder / PREPARED_FOLDER).glob("*.json")
    other = open_store()
    other.key = "0" * 32
    index.rename(index.with_stem(other.key))
    assert other.open() is None
    assert ["was prepared for another encoder" in line for line in caplog.messages] == [True]


def test_array_that_changes_under_a_run_ends_the_step_in_a_line(open_store: OpenStore, site: SiteConfig) -> None:
    list(open_store().prepare())
    prepared = open_store().open()
    assert prepared is not None
    (images,) = (site.state_folder / PREPARED_FOLDER).glob("*.images.npy")
    (reports,) = (site.state_folder / PREPARED_FOLDER).glob("*.reports.npy")
    flip_last(images)
    with pytest.raises(DataError, match=r"images\.npy: was changed while it was in use"):
        prepared.images[torch.tensor([0])]
    os.truncate(reports, 200)
    with pytest.raises(DataError, match=r"reports\.npy: was changed while it was in use"):
        prepared.reports[torch.tensor([0])]


def test_prepared_anew_under_a_run_the_run_reads_on_in_what_it_opened(open_store: OpenStore, site: SiteConfig) -> None:
    list(open_store().prepare())
    prepared = open_store().open()
    assert prepared is not None
    before = prepared.images[:]
    os.utime(site.data.root / "3.png", ns=(1, 1))
    list(open_store().prepare())
    assert torch.equal(prepared.images[:], before)


@pytest.mark.parametrize("at", ["sqlite", "images.npy", "json"])
def test_full_disk_ends_preparing_in_a_line_and_keeps_what_was_encoded(
    open_store: OpenStore, encoder: CountingEncoder, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if str(target).endswith(at):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(DataError, match=rf"{at}: cannot be written \(No space left on device\); make room"):
            list(open_store().prepare())
    assert open_store().open() is None
    list(open_store().prepare())
    assert open_store().open() is not None
    assert sorted(encoder.images) == list(range(NUM_OWN))


def test_nothing_lies_twice_on_the_disk_in_the_end(open_store: OpenStore, site: SiteConfig) -> None:
    list(open_store().prepare())
    (site.state_folder / PREPARED_FOLDER / ".left.images.npy.x").write_text("by a process that was killed")
    os.utime(site.data.root / "3.png", ns=(1, 1))
    list(open_store().prepare())
    left = sorted(path.name.split(".", 1)[1] for path in (site.state_folder / PREPARED_FOLDER).iterdir())
    assert left == ["images.npy", "json", "lock", "reports.npy", "sqlite"]
    assert not list((site.state_folder / "features").rglob("*.safetensors"))


def test_other_code_finds_what_was_encoded_and_takes_its_place(
    open_store: OpenStore, site: SiteConfig, run_config: RunConfig, encoder: CountingEncoder
) -> None:
    list(open_store().prepare())
    encoder.images.clear()
    newer = StudyStore(site, run_config.encoder, code="1" * 64)
    list(newer.prepare())
    assert newer.open() is not None
    assert not encoder.images
    assert open_store().open() is None
    assert len(list((site.state_folder / PREPARED_FOLDER).glob("*.images.npy"))) == 1


def test_further_images_of_a_study_lie_behind_its_main_one(
    open_store: OpenStore, encoder: CountingEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Study 2 has three images, and study 3 one that is also another study's: each is encoded once."""
    further = {"s2": (100, 101), "s3": (7,)}
    real = StudyFolder.studies

    def studies(self: StudyFolder) -> Iterator[Study | BadRow]:
        for item in real(self):
            assert isinstance(item, Study)
            images = tuple(np.full((4, 4), value, np.uint8) for value in further.get(item.record.study_id, ()))
            yield replace(item, other_images=images)

    monkeypatch.setattr(StudyFolder, "studies", studies)
    list(open_store().prepare())
    prepared = open_store().open()
    assert prepared is not None
    assert prepared.images[:][:, 0].tolist() == [float(n) for n in range(NUM_OWN)]
    assert prepared.images.count_N.tolist() == [1, 1, 3, 2, *[1] * (NUM_OWN - 4)]
    first = int(prepared.images.first_N[2])
    assert prepared.images.array.read(np.arange(first, first + 5))[:, 0].tolist() == [2, 100, 101, 3, 7]
    assert sorted(encoder.images) == [*range(NUM_OWN), 100, 101]


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
    monkeypatch.setattr("client.store.pace.time.monotonic", lambda: clock[0])
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
