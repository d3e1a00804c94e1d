"""The worker: the bits of a simulated site, and nothing for a bundle that is not approved."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from flwr.app import Context, Message, RecordDict

from client.check.budget import accounts_of, budget_of
from client.deploy import local_worker
from client.deploy.init import create_site, join
from client.deploy.local_worker import LocalWorker, open_worker
from client.deploy.worker import Handle
from client.dp.randomness import Randomness, SeededRandomness
from client.gate.recorder import NoRecorder
from client.ledger.ledger import Ledger
from client.policy.site_config import load_site_config
from client.state_folder import LEDGER_FILE, LOG_FOLDER, REQUEST_FILE
from common.bundle import Bundle, bundle_of
from common.errors import WardroundError
from common.evidence.audit_log import AuditLog
from common.evidence.log_entries import Kind
from common.ledger.read import read_books
from common.privacy.accountant import epsilon_of
from common.privacy.events import SampledGaussian
from common.seeds import torch_generator
from common.wire.flower import UPDATE, hello_to_records
from common.wire.preparing import preparing_of
from simulations.federation.handlers import site_handlers
from simulations.federation.members import Members, each_its_own
from simulations.scenarios.simulate import Clock, prepare
from tests.client.deploy.centre import Centre
from tests.client.deploy.hospital import Cohort, Hospital, copy_studies, read_rows, task_of

pytestmark = pytest.mark.usefixtures("flower_runtime", "one_thread")


@pytest.fixture
def one_thread() -> None:
    torch.set_num_threads(1)


def noise_of(site: str, round_number: int) -> Randomness:
    """Sampling and noise that a test may repeat."""
    return SeededRandomness(torch_generator(7, "noise", site, round_number))


@contextmanager
def worker(hospital: Hospital) -> Iterator[Handle]:
    with open_worker(
        hospital.site_file,
        randomness=lambda number: noise_of(hospital.name, number),
        recorder_of=lambda *_: NoRecorder(),
    ) as worker:
        yield prepared_first(worker)


def prepared_first(worker: LocalWorker) -> Handle:
    """Answers as the worker does once it has prepared what it is asked for."""

    def handle(bundle_hash: str, message: Message) -> Message:
        reply = worker.answer(bundle_hash, message)
        while reply.has_error() and preparing_of(reply.error.reason) is not None:
            while worker.work():
                pass
            reply = worker.answer(bundle_hash, message)
        return reply

    return handle


def reason_of(reply: Message) -> str:
    assert reply.has_error()
    return str(reply.error.reason)


def entries(hospital: Hospital) -> list[Any]:
    with AuditLog(hospital.state / LOG_FOLDER, owner=hospital.name, key=hospital.key) as log:
        return list(log.trail)


@pytest.mark.parametrize("trainable", ["heads", "lora", "all"])
def test_update_has_the_bits_of_the_simulated_site(
    trainable: str, cohort: Cohort, hospital: Hospital, tmp_path: Path, quiet_watcher: Any
) -> None:
    content = cohort.bundle(f"encoder.trainable={trainable}")
    bundle = bundle_of(content)
    hospital.approve(content)
    consortium, model = prepare(bundle.config, Clock(quiet_watcher))
    members = Members(
        config=bundle.config,
        consortium=consortium,
        cut=each_its_own(consortium),
        model=model,
        folder=tmp_path / "simulated",
        randomness=noise_of,
    )
    position = consortium.sites.index(hospital.name)
    simulated = site_handlers(members)[position]
    context = Context(0, 1, {"partition-id": position}, RecordDict(), {})
    with worker(hospital) as handle:
        for round_number in (1, 2):
            task = task_of(bundle, round_number=round_number)
            here = handle(bundle.hash, task).content.array_records[UPDATE].to_numpy_ndarrays()
            there_reply = simulated(task, context)
            assert there_reply is not None
            there = there_reply.content.array_records[UPDATE].to_numpy_ndarrays()
            assert [array.tobytes() for array in here] == [array.tobytes() for array in there]
            assert any(np.any(array) for array in here)


def test_each_task_is_charged_to_the_ledger(hospital: Hospital, content: bytes, bundle: Bundle) -> None:
    hospital.approve(content)
    with worker(hospital) as handle:
        for round_number in (1, 2):
            assert not handle(bundle.hash, task_of(bundle, round_number=round_number)).has_error()
        assert not handle(bundle.hash, task_of(bundle, round_number=3, train=False)).has_error()
    books = read_books(hospital.state / LEDGER_FILE)
    training, held_out = sorted((account.cohort, account) for account in books.accounts)[::-1]
    assert len(books.reservations(training[1])) == 2
    assert len(books.reservations(held_out[1])) == 1  # figures of the first model and of the last are one release


def test_budget_that_other_runs_spent_is_refused(hospital: Hospital, content: bytes, bundle: Bundle) -> None:
    hospital.approve(content)
    other = SampledGaussian(noise_multiplier=0.5, sampling_probability=1.0, steps=3)
    cap = epsilon_of([other], delta=1e-3) + 0.1
    hospital.edit("budget", epsilon=cap, epsilon_per_run=cap)
    site = load_site_config(hospital.site_file)
    with Ledger.open(
        hospital.state / LEDGER_FILE, site=hospital.name, key=hospital.key, budget=budget_of(site)
    ) as ledger:
        ledger.reserve(accounts_of(site)[0], run="f" * 64, round_number=1, release=UPDATE, event=other)
    with worker(hospital) as handle:
        assert reason_of(handle(bundle.hash, task_of(bundle))) == "budget"


def test_hospital_that_has_not_joined_opens_nothing(hospital: Hospital) -> None:
    with pytest.raises(WardroundError), open_worker(hospital.site_file):
        pass


def test_member_answers_no_task_without_evidence(
    hospital: Hospital, content: bytes, bundle: Bundle, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    centre = Centre.new(tmp_path / "centre", now=now)
    digest = centre.consortium.digest
    shutil.rmtree(hospital.state)
    create_site(hospital.state, bundle=centre.bundle, confirmed=digest, name=hospital.name, now=now)
    join(hospital.state, centre.answer(hospital.state / REQUEST_FILE, now=now), now=now)
    hospital.approve(content)
    with open_worker(hospital.site_file) as worker:
        assert reason_of(prepared_first(worker)(bundle.hash, task_of(bundle))) == "evidence"
    hospital.write(yaml.safe_load(hospital.site_file.read_text()) | {"site": "another"})
    with pytest.raises(WardroundError), open_worker(hospital.site_file):
        pass


def test_bundle_without_approval_touches_nothing(
    hospital: Hospital, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def touched(*_: object, **__: object) -> None:
        pytest.fail("something of the run or the studies was read")

    monkeypatch.setattr(local_worker, "open_site", touched)
    monkeypatch.setattr("client.deploy.approval.read_bundle", touched)
    with worker(hospital) as handle:
        assert reason_of(handle(bundle.hash, task_of(bundle))) == "bundle"
    assert not (hospital.state / LEDGER_FILE).exists()


def test_refusal_is_in_the_log(hospital: Hospital, bundle: Bundle) -> None:
    with worker(hospital) as handle:
        handle(bundle.hash, task_of(bundle))
    last = entries(hospital)[-1]
    assert (last.kind, last.fields["run"], last.fields["reason"]) == (Kind.REFUSAL, bundle.hash, "bundle")


def test_withdrawn_approval_holds_from_the_next_message(hospital: Hospital, content: bytes, bundle: Bundle) -> None:
    hospital.approve(content)
    with worker(hospital) as handle:
        assert not handle(bundle.hash, task_of(bundle)).has_error()
        hospital.approvals.withdraw(bundle.hash)
        assert reason_of(handle(bundle.hash, task_of(bundle, round_number=2))) == "bundle"
        hospital.approve(content)
        assert not handle(bundle.hash, task_of(bundle, round_number=2)).has_error()


def test_approval_is_noted_in_the_log_once(hospital: Hospital, content: bytes, bundle: Bundle) -> None:
    hospital.approve(content)
    for _ in range(2):
        with worker(hospital) as handle:
            handle(bundle.hash, Message(hello_to_records(), dst_node_id=1, message_type="query"))
    (noted,) = [entry for entry in entries(hospital) if entry.kind is Kind.BUNDLE_APPROVED]
    signed = (hospital.state / "approvals" / f"{bundle.hash}.json").read_bytes()
    assert noted.fields | {"content": noted.content} == {
        "run": bundle.run,
        "bundle": bundle.hash,
        "content": hashlib.sha256(signed).hexdigest(),
    }


def test_bundle_that_was_approved_anew_is_noted_anew(hospital: Hospital, content: bytes, bundle: Bundle) -> None:
    hello = Message(hello_to_records(), dst_node_id=1, message_type="query")
    hospital.approve(content)
    with worker(hospital) as handle:
        assert not handle(bundle.hash, hello).has_error()
        hospital.approvals.withdraw(bundle.hash)
        later = datetime.now(UTC) + timedelta(hours=1)
        hospital.approve(content, now=later)
        assert not handle(bundle.hash, hello).has_error()
    assert [entry.kind for entry in entries(hospital)].count(Kind.BUNDLE_APPROVED) == 2


def test_site_yaml_s_own_lists_approve_nothing_alone(hospital: Hospital, bundle: Bundle) -> None:
    hospital.edit("training", bundle_hashes=["any"], config_digests=["any"])
    with worker(hospital) as handle:
        assert reason_of(handle(bundle.hash, task_of(bundle))) == "bundle"


def test_bundle_that_was_changed_on_the_disk_is_refused(hospital: Hospital, content: bytes, bundle: Bundle) -> None:
    hospital.approve(content)
    kept = hospital.state / "bundles" / f"{bundle.hash}.bundle"
    damaged = bytearray(content)
    damaged[len(damaged) // 2] ^= 1
    kept.write_bytes(damaged)
    with worker(hospital) as handle:
        assert reason_of(handle(bundle.hash, task_of(bundle))) == "trust"


def test_other_public_studies_are_refused(hospital: Hospital, content: bytes, bundle: Bundle, cohort: Cohort) -> None:
    hospital.approve(content)
    fewer = copy_studies(cohort.public, hospital.folder / "public", read_rows(cohort.public)[:-1])
    hospital.edit("anchors", root=str(fewer))
    with worker(hospital) as handle:
        assert reason_of(handle(bundle.hash, task_of(bundle))) == "data"


def test_public_studies_may_lie_among_the_hospital_s_own(
    hospital: Hospital, content: bytes, bundle: Bundle, cohort: Cohort
) -> None:
    hospital.approve(content)
    with worker(hospital) as handle:
        apart = handle(bundle.hash, task_of(bundle)).content.array_records[UPDATE]
    hospital.edit("data", root=str(_with_public(hospital, cohort)))
    hospital.edit("anchors", root="")
    with worker(hospital) as handle:
        among = handle(bundle.hash, task_of(bundle)).content.array_records[UPDATE]
    assert among == apart


def test_too_many_bad_rows_are_refused(hospital: Hospital, content: bytes, bundle: Bundle) -> None:
    hospital.approve(content)
    for image in sorted((hospital.folder / "studies").rglob("*.png"))[:3]:
        image.write_bytes(b"no picture")
    with worker(hospital) as handle:
        assert reason_of(handle(bundle.hash, task_of(bundle))) == "data"
    hospital.edit("data", max_bad_fraction=0.5)
    with worker(hospital) as handle:
        assert not handle(bundle.hash, task_of(bundle)).has_error()


@pytest.mark.parametrize("kind", ["evaluate", "query.other", "train.other"])
def test_other_kinds_of_messages_are_refused(hospital: Hospital, content: bytes, bundle: Bundle, kind: str) -> None:
    hospital.approve(content)
    task = task_of(bundle)
    with worker(hospital) as handle:
        reply = handle(bundle.hash, Message(task.content, dst_node_id=1, message_type=kind))
    assert reason_of(reply) == "policy"


def test_task_of_another_run_is_refused(hospital: Hospital, content: bytes, bundle: Bundle, cohort: Cohort) -> None:
    hospital.approve(content)
    other = bundle_of(cohort.bundle("seed=1"))
    with worker(hospital) as handle:
        assert reason_of(handle(bundle.hash, task_of(other))) == "policy"


def test_store_that_is_damaged_under_a_run_costs_its_round_and_is_mended(
    hospital: Hospital, cohort: Cohort, caplog: pytest.LogCaptureFixture
) -> None:
    content = cohort.bundle("encoder.trainable=all")
    bundle = bundle_of(content)
    hospital.approve(content)
    with worker(hospital) as handle:
        assert not handle(bundle.hash, task_of(bundle, round_number=1)).has_error()
        (images,) = (hospital.state / "prepared").glob("*.images.npy")
        os.truncate(images, images.stat().st_size // 2)
        assert reason_of(handle(bundle.hash, task_of(bundle, round_number=2))) == "data"
        assert not handle(bundle.hash, task_of(bundle, round_number=3)).has_error()
    told = [line for line in caplog.messages if images.name in line]
    assert any("was changed while it was in use" in line for line in told)
    assert all("\n" not in line for line in told)


def test_few_runs_are_kept_warm(
    hospital: Hospital, content: bytes, cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    real = local_worker.open_site

    def counted(config: Any, bundle: Bundle, *rest: Any, **named: Any) -> Any:
        opened.append(bundle.hash)
        return real(config, bundle, *rest, **named)

    monkeypatch.setattr(local_worker, "open_site", counted)
    contents = [content, cohort.bundle("seed=1"), cohort.bundle("seed=2")]
    bundles = [bundle_of(one) for one in contents]
    for one in contents:
        hospital.approve(one)
    hello = Message(hello_to_records(), dst_node_id=1, message_type="query")
    with worker(hospital) as handle:
        for bundle in (bundles[0], bundles[1], bundles[0], bundles[2], bundles[0], bundles[1]):
            assert not handle(bundle.hash, hello).has_error()
    assert opened == [bundle.hash for bundle in (*bundles, bundles[1])]


def _with_public(hospital: Hospital, cohort: Cohort) -> Path:
    """A folder with the hospital's own studies and the public ones."""
    rows = [row for row in read_rows(cohort.whole) if row["site"] in (hospital.name, "public")]
    folder = copy_studies(cohort.whole, hospital.folder / "both", rows)
    shutil.copy(cohort.whole / "splits.csv", folder / "splits.csv")
    return folder
