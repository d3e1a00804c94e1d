"""The relay between Flower's own Runtime API and a worker: every message is answered, whatever happens."""

from __future__ import annotations

import hashlib
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Error, Message, RecordDict
from flwr.common.constant import SubStatus
from flwr.supercore.constant import TaskType
from flwr.supercore.object_store import NoObjectInStoreError

from client.deploy import runtime_api
from client.deploy.relay import Relay, seconds_left
from client.deploy.supernode import Endpoint
from client.deploy.worker import Handle
from client.deploy.worker_client import WorkerClient
from tests.client.deploy.runtime import SECRET, Runtime, runtime
from tests.client.deploy.test_message_bytes import message_of
from tests.client.deploy.test_worker import echo, serving


@pytest.fixture
def node() -> Iterator[Runtime]:
    with runtime() as served:
        yield served


@dataclass
class Site:
    """A relay that runs."""

    node: Runtime
    given_up: list[Endpoint]

    def ask(self, content: RecordDict, **options: Any) -> Message:
        """The reply to what has come."""
        self.node.put(content, **options)
        return self.node.reply()


StartSite = Callable[..., Site]


@pytest.fixture
def start_site(node: Runtime, tmp_path: Path) -> Iterator[StartSite]:
    """Start a relay, and a worker of this handle, if any."""
    relays: list[Relay] = []
    workers: list[AbstractContextManager[WorkerClient]] = []

    def start(handle: Handle | None, *, patience: float = 5, secret: bytes = SECRET) -> Site:
        client = WorkerClient(socket=tmp_path / "s", patience_seconds=patience)
        if handle is not None:
            workers.append(serving(handle, tmp_path / "s"))
            workers[-1].__enter__()
        given_up: list[Endpoint] = []
        relay = Relay(
            endpoint=lambda: None if given_up else Endpoint(1, node.address),
            secret=secret,
            activity=threading.Event(),
            worker=client,
            give_up=given_up.append,
        )
        relays.append(relay)
        relay.start()
        return Site(node, given_up)

    yield start
    for relay in relays:
        relay.stop(within_seconds=10)
    for worker in workers:
        worker.__exit__(None, None, None)


def test_message_is_answered_with_the_workers_reply(start_site: StartSite) -> None:
    site = start_site(echo)
    content = RecordDict({"model": ArrayRecord([np.arange(1_500_000, dtype=np.float64)])})  # more than two chunks
    reply = site.ask(content, bundle=b"bundle")
    assert reply.content.array_records["model"].object_id == content.array_records["model"].object_id
    assert reply.metadata.reply_to_message_id
    deadline = time.monotonic() + 5
    while site.node.statuses() != [("finished", "completed", "")]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not site.given_up


def test_hash_is_that_of_the_bytes_and_not_the_servers(start_site: StartSite) -> None:
    reply = start_site(echo).ask(RecordDict(), bundle=b"bundle")
    assert reply.content.config_records["answer"]["bundle"] == hashlib.sha256(b"bundle").hexdigest()


def bomb() -> bytes:
    """An archive whose opening would write 64 MiB, of code that would raise."""
    content = BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("wardround_bomb.py", "raise SystemExit" + "\n" * (64 << 20))
    return content.getvalue()


def test_bundle_is_never_opened_nor_imported(start_site: StartSite, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: object, **__: object) -> None:
        pytest.fail("the bundle was opened")

    content = bomb()
    monkeypatch.setattr(zipfile, "ZipFile", opened)
    reply = start_site(echo).ask(RecordDict(), bundle=content)
    assert reply.content.config_records["answer"]["bundle"] == hashlib.sha256(content).hexdigest()
    assert "wardround_bomb" not in sys.modules


def test_task_of_a_kind_that_is_not_served_is_answered_too(start_site: StartSite) -> None:
    assert start_site(echo).ask(RecordDict(), kind=TaskType.AGENT_APP).has_content()


def test_task_whose_message_comes_a_moment_later_is_answered(
    start_site: StartSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = start_site(echo)
    store = site.node.state.store_message

    def later(message: Message) -> str | None:
        while site.node.statuses()[0][0] == "pending":
            time.sleep(0.01)
        time.sleep(0.2)
        return store(message)

    with monkeypatch.context() as patch:
        patch.setattr(site.node.state, "store_message", later)
        site.node.put(RecordDict())
    assert site.node.reply().has_content()
    assert not site.given_up


def test_worker_that_does_not_start_is_answered_for(start_site: StartSite) -> None:
    site = start_site(None, patience=0.2)
    assert site.ask(RecordDict()).error == Error(1, "worker")
    assert not site.given_up


def test_worker_that_takes_longer_than_the_message_lives_is_answered_for(
    start_site: StartSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(bundle_hash: str, message: Message) -> Message:
        time.sleep(2)
        return echo(bundle_hash, message)

    monkeypatch.setattr("client.deploy.relay.seconds_left", lambda _: 0.3)
    begin = time.monotonic()
    assert start_site(slow).ask(RecordDict()).error == Error(1, "worker")
    assert time.monotonic() - begin < 2


def test_reply_to_another_message_is_not_handed_over(start_site: StartSite) -> None:
    def confused(bundle_hash: str, message: Message) -> Message:  # noqa: ARG001 - a handle
        other = message_of(RecordDict({"of": ConfigRecord({"another": "run"})}))
        return Message(RecordDict({"secret": ConfigRecord({"of": "another"})}), reply_to=other)

    assert start_site(confused).ask(RecordDict()).error == Error(1, "worker")


def test_text_of_an_error_is_not_handed_over_whatever_the_worker_is(
    start_site: StartSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("client.deploy.worker.without_text", lambda reply, _: reply)  # a worker that is broken

    def tells(bundle_hash: str, message: Message) -> Message:  # noqa: ARG001 - a handle
        return Message(Error(2, "patient-name John Doe"), reply_to=message)

    assert start_site(tells).ask(RecordDict()).error == Error(1, "raised")


def test_malformed_message_is_answered(start_site: StartSite) -> None:
    site = start_site(None)
    message = site.node.put(RecordDict({"model": ArrayRecord([np.zeros(9)])}), kind=TaskType.MODEL)  # nobody takes it
    for object_id in list(site.node.state.object_store.store):  # type: ignore[attr-defined]  # in memory
        if object_id != message.object_id:
            site.node.state.object_store.store[object_id].content = b"Array 1\x00x"  # type: ignore[attr-defined]
    site.node.state.create_task(task_type=TaskType.CLIENT_APP, run_id=7, fab_hash="lie")
    assert site.node.reply().error == Error(1, "malformed")
    assert not site.given_up


def test_next_message_is_answered_after_each_kind_of_failure(start_site: StartSite) -> None:
    def moody(bundle_hash: str, message: Message) -> Message:
        if message.content.config_records["order"]["name"] == "fail":
            raise ValueError("patient-name John Doe")
        return echo(bundle_hash, message)

    site = start_site(moody)
    for name, fails in (("fail", True), ("go", False), ("fail", True), ("go", False)):
        assert site.ask(RecordDict({"order": ConfigRecord({"name": name})})).has_error() is fails


def test_supernode_that_takes_no_reply_is_given_up(start_site: StartSite) -> None:
    def takes_the_task_away(bundle_hash: str, message: Message) -> Message:
        (task,) = site.node.state.get_tasks()
        site.node.state.finish_task(task.task_id, SubStatus.FAILED, "gone")
        return echo(bundle_hash, message)

    site = start_site(takes_the_task_away)
    site.node.put(RecordDict())
    deadline = time.monotonic() + 10
    while not site.given_up:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert site.given_up == [Endpoint(1, site.node.address)]


def test_reply_that_the_supernode_drops_as_it_comes_is_no_fault(
    start_site: StartSite, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As it does where the run has ended: it forgets the reply between its announcement and its parts."""
    caplog.set_level("INFO")
    dropped = threading.Event()

    def drops(object_id: str, content: bytes) -> None:  # noqa: ARG001 - the store's
        dropped.set()
        raise NoObjectInStoreError(object_id)

    def ends_meanwhile(bundle_hash: str, message: Message) -> Message:
        monkeypatch.setattr(site.node.state.object_store, "put", drops)
        return echo(bundle_hash, message)

    site = start_site(ends_meanwhile)
    site.node.put(RecordDict())
    assert dropped.wait(10)
    deadline = time.monotonic() + 10
    while "nobody wants this answer" not in caplog.text:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not site.given_up


def test_relay_of_another_agent_gets_no_task(start_site: StartSite, caplog: pytest.LogCaptureFixture) -> None:
    site = start_site(echo, secret=b"guessed")
    site.node.put(RecordDict())
    deadline = time.monotonic() + 10
    while "HTTP 401" not in caplog.text:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert site.node.statuses() == [("pending", "", "")]


def test_long_training_keeps_its_task_by_heartbeats(start_site: StartSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_api, "_HEARTBEAT_SECONDS", 0.1)
    kept: list[float] = []

    def trains(bundle_hash: str, message: Message) -> Message:
        for _ in range(2):
            (record,) = site.node.state.task_token_store.values()
            kept.append(record.active_until.timestamp())
            time.sleep(0.5)
        return echo(bundle_hash, message)

    site = start_site(trains)
    assert site.ask(RecordDict()).has_content()
    assert kept[1] > kept[0] + 0.3


def test_seconds_left_are_those_of_the_message_and_one_at_least() -> None:
    message = message_of(RecordDict())
    message.metadata.created_at = time.time() - 20
    assert 39 < seconds_left(message) < 40.3
    message.metadata.created_at = time.time() - 1000
    assert seconds_left(message) == 1
