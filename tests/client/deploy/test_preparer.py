"""A worker prepares what was approved between its messages, and says how far it is to whoever asks meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from client.deploy.local_worker import LocalWorker, open_worker
from client.deploy.preparer import AGAIN_SECONDS, NotReady, Preparer
from client.gate.recorder import NoRecorder
from client.policy.site_config import load_site_config
from client.state_folder import LOG_FOLDER
from common.bundle import Bundle, bundle_of
from common.errors import DataError
from common.ledger.read import read_books
from common.wire.preparing import Preparing, preparing_of
from tests.client.deploy.hospital import Cohort, Hospital, task_of

pytestmark = pytest.mark.usefixtures("flower_runtime")


@pytest.fixture
def worker(hospital: Hospital, content: bytes) -> Iterator[LocalWorker]:
    """Of a hospital that has approved a run and prepared nothing."""
    hospital.approve(content)
    with open_worker(hospital.site_file, recorder_of=lambda *_: NoRecorder()) as opened:
        yield opened


def said(worker: LocalWorker, bundle: Bundle) -> str | None:
    """The reason of the worker's reply to a task; None where it trained."""
    reply = worker.answer(bundle.hash, task_of(bundle))
    return str(reply.error.reason) if reply.has_error() else None


def test_approved_run_is_prepared_before_anyone_asks(worker: LocalWorker, bundle: Bundle) -> None:
    while worker.work():
        pass
    assert said(worker, bundle) is None


def test_worker_says_how_far_it_is_and_spends_nothing_until_it_is_ready(
    worker: LocalWorker, hospital: Hospital, bundle: Bundle
) -> None:
    reasons = [said(worker, bundle)]
    while worker.work():
        reasons.append(said(worker, bundle))
    found = [preparing_of(str(reason)) for reason in reasons]
    assert None not in found
    percents = [one.percent for one in found if one is not None]
    assert percents == sorted(percents)
    assert percents[0] == 0
    assert percents[-1] > 0
    assert not read_books(hospital.state / "ledger.sqlite3").accounts
    assert said(worker, bundle) is None


def test_waiting_is_no_refusal_in_the_log(worker: LocalWorker, hospital: Hospital, bundle: Bundle) -> None:
    for _ in range(3):
        said(worker, bundle)
    entries = (hospital.state / LOG_FOLDER).rglob("*.jsonl")
    assert all('"refusal"' not in path.read_text(encoding="utf-8") for path in entries)


def test_run_that_is_asked_for_is_prepared_before_others(
    hospital: Hospital, content: bytes, cohort: Cohort, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="wardround.site")
    others = [cohort.bundle(f"encoder.image_size={size}") for size in (16, 48)]
    for one in (content, *others):
        hospital.approve(one)
    with open_worker(hospital.site_file, recorder_of=lambda *_: NoRecorder()) as worker:
        wanted = bundle_of(content)
        while said(worker, wanted) is not None:
            assert worker.work()
    begun = [record.message for record in caplog.records if "preparing the studies" in record.message]
    assert begun[0].startswith(f"bundle {wanted.hash}")
    assert len(begun) == 1


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


@pytest.fixture
def preparer(hospital: Hospital, content: bytes, clock: list[float]) -> Preparer:
    hospital.approve(content)
    approvals = hospital.approvals
    return Preparer(load_site_config(hospital.site_file), approvals, wanted=approvals.all, clock=lambda: clock[0])


def test_studies_that_cannot_be_used_are_the_reason_and_are_tried_again_after_a_minute(
    preparer: Preparer, hospital: Hospital, bundle: Bundle, clock: list[float]
) -> None:
    table = hospital.folder / "studies" / "manifest.csv"
    whole = table.read_bytes()
    table.write_bytes(b"study_id\n1\n")
    while preparer.work():
        pass
    table.write_bytes(whole)
    with pytest.raises(DataError, match="column patient_id is missing"):
        preparer.ready(bundle)
    clock[0] += AGAIN_SECONDS
    with pytest.raises(NotReady):
        preparer.ready(bundle)
    while preparer.work():
        pass
    assert len(preparer.ready(bundle).records) > 0


def test_cut_that_cannot_be_used_ends_it_before_an_image_is_decoded(
    preparer: Preparer, hospital: Hospital, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = hospital.folder / "studies" / "splits.csv"
    splits.write_text(splits.read_text().replace("train", "test"))
    monkeypatch.setattr("client.data.view_files.decode_picture", lambda *_: pytest.fail("decoded"))
    while preparer.work():
        pass
    with pytest.raises(DataError, match="leaves no training patients"):
        preparer.ready(bundle)


def test_studies_that_change_after_they_were_prepared_are_prepared_again(
    preparer: Preparer, hospital: Hospital, bundle: Bundle
) -> None:
    while preparer.work():
        pass
    table = hospital.folder / "studies" / "manifest.csv"
    before = len(preparer.ready(bundle).records)
    lines = table.read_bytes().splitlines(keepends=True)
    table.write_bytes(b"".join(lines[:-1]))
    with pytest.raises(NotReady):
        preparer.ready(bundle)
    while preparer.work():
        pass
    assert len(preparer.ready(bundle).records) == before - 1


def test_damaged_approval_of_one_run_does_not_keep_the_worker_from_its_work(
    preparer: Preparer, hospital: Hospital, caplog: pytest.LogCaptureFixture
) -> None:
    (bundle_file,) = (hospital.state / "bundles").iterdir()
    bundle_file.write_bytes(b"damaged")
    assert not preparer.work()
    assert "cannot be prepared for" in caplog.text


def test_reason_of_a_run_that_waits_says_nothing_is_done(preparer: Preparer, bundle: Bundle) -> None:
    with pytest.raises(NotReady) as told:
        preparer.ready(bundle)
    assert told.value.reason == Preparing(percent=0, minutes=0).reason
