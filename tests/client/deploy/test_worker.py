"""The worker's socket: who can open it, one message at a time, and what an exception leaves."""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import grpc
import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict

from client.deploy.worker import METHOD, SERVICE, Handle, bind_privately, serve
from client.deploy.worker_client import WorkerClient, WorkerGone
from common.errors import BudgetExhausted, ConfigError
from tests.client.deploy.test_message_bytes import HASH, message_of


@contextmanager
def serving(handle: Handle, socket: Path) -> Iterator[WorkerClient]:
    """A worker in a thread of this process."""
    end = threading.Event()
    thread = threading.Thread(target=serve, args=(handle, socket), kwargs={"ended": end.is_set}, name="serving")
    thread.start()
    client = WorkerClient(socket=socket, patience_seconds=5)
    try:
        yield client
    finally:
        end.set()
        thread.join(10)
        assert not thread.is_alive()


def echo(bundle_hash: str, message: Message) -> Message:
    """Say what was asked."""
    answer = ConfigRecord({"bundle": bundle_hash, "thread": threading.current_thread().name})
    return Message(RecordDict({**message.content, "answer": answer}), reply_to=message)


def test_worker_answers_in_the_thread_that_serves(tmp_path: Path) -> None:
    with serving(echo, tmp_path / "s") as client:
        reply = client.ask(HASH, message_of(RecordDict()), within_seconds=10)
    assert dict(reply.content.config_records["answer"]) == {"bundle": HASH, "thread": "serving"}


def test_worker_takes_messages_larger_than_the_limit_of_grpc(tmp_path: Path) -> None:
    message = message_of(RecordDict({"model": ArrayRecord([np.zeros(3_000_000, np.float32)])}))
    with serving(echo, tmp_path / "s") as client:
        reply = client.ask(HASH, message, within_seconds=20)
    assert reply.content.array_records["model"].object_id == message.content.array_records["model"].object_id


def test_socket_is_its_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o755)
    socket = folder / "s"
    socket.write_text("left behind")
    with serving(echo, socket) as client:
        client.ask(HASH, message_of(RecordDict()), within_seconds=10)
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not socket.exists()


def test_socket_is_never_open_to_others_not_even_while_it_is_made(tmp_path: Path) -> None:
    masks: list[int] = []

    class Server:
        def add_insecure_port(self, address: str) -> None:
            assert address == f"unix:{tmp_path / 'run' / 's'}"
            masks.append(os.umask(0o777))
            assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700

    before = os.umask(0o000)
    try:
        bind_privately(cast(grpc.Server, Server()), tmp_path / "run" / "s")
        assert masks == [0o177]
        assert os.umask(0o000) == 0o000  # as it was
    finally:
        os.umask(before)


def test_path_too_long_for_a_socket_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="state_folder with a shorter path"):
        serve(echo, tmp_path / ("x" * 100) / "s", ended=lambda: True)


def test_worker_answers_one_message_at_a_time_and_its_health_meanwhile(tmp_path: Path) -> None:
    busy = threading.Lock()
    overlaps: list[bool] = []

    def slow(bundle_hash: str, message: Message) -> Message:
        overlaps.append(not busy.acquire(blocking=False))
        time.sleep(0.5)
        busy.release()
        return echo(bundle_hash, message)

    with serving(slow, tmp_path / "s") as client, ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(client.ask, HASH, message_of(RecordDict()), within_seconds=20) for _ in range(3)]
        time.sleep(0.25)
        assert client.is_healthy()
        assert all(each.result().has_content() for each in asked)
    assert overlaps == [False] * 3


def test_message_whose_caller_has_gone_is_not_answered(tmp_path: Path) -> None:
    answered: list[str] = []

    def slow(bundle_hash: str, message: Message) -> Message:
        answered.append(str(message.content.config_records["order"]["name"]))
        time.sleep(1)
        return echo(bundle_hash, message)

    def named(name: str) -> Message:
        return message_of(RecordDict({"order": ConfigRecord({"name": name})}))

    with serving(slow, tmp_path / "s") as client, ThreadPoolExecutor(2) as pool:
        first = pool.submit(client.ask, HASH, named("first"), within_seconds=20)
        while not answered:
            time.sleep(0.01)
        with pytest.raises(WorkerGone, match="DEADLINE_EXCEEDED"):
            client.ask(HASH, named("impatient"), within_seconds=0.3)
        assert first.result().has_content()
        client.ask(HASH, named("last"), within_seconds=20)
    assert answered == ["first", "last"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("patient-name John Doe"), "raised"),
        (BudgetExhausted("patient-name John Doe"), "budget"),
        (MemoryError("patient-name John Doe"), "raised"),
    ],
)
def test_exception_leaves_as_a_reason_and_its_text_stays_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, error: Exception, reason: str
) -> None:
    def fails(bundle_hash: str, message: Message) -> Message:  # noqa: ARG001 - a handle
        raise error

    with caplog.at_level(logging.ERROR, "wardround.worker"), serving(fails, tmp_path / "s") as client:
        reply = client.ask(HASH, message_of(RecordDict()), within_seconds=10)
    assert (reply.error.code, reply.error.reason) == (1, reason)
    assert "patient-name John Doe" in caplog.text


def test_bytes_that_are_no_message_are_refused_and_the_next_is_answered(tmp_path: Path) -> None:
    with serving(echo, tmp_path / "s") as client:
        assert client.ask(HASH, message_of(RecordDict()), within_seconds=10)
        with grpc.insecure_channel(f"unix:{client.socket}") as channel:
            with pytest.raises(grpc.RpcError) as refused:
                channel.unary_unary(f"/{SERVICE}/{METHOD}")(b"rubbish", timeout=5)
            assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert client.ask(HASH, message_of(RecordDict()), within_seconds=10).has_content()


def test_client_waits_for_a_worker_that_is_starting(tmp_path: Path) -> None:
    client = WorkerClient(socket=tmp_path / "s", patience_seconds=5)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.ask, HASH, message_of(RecordDict()), within_seconds=20)
        time.sleep(0.7)
        with serving(echo, tmp_path / "s"):
            assert asked.result().has_content()


def test_client_gives_up_a_worker_that_does_not_start(tmp_path: Path) -> None:
    client = WorkerClient(socket=tmp_path / "s", patience_seconds=0.3)
    assert not client.is_healthy()
    with pytest.raises(WorkerGone, match="does not start"):
        client.ask(HASH, message_of(RecordDict()), within_seconds=20)
