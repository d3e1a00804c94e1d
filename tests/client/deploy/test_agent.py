"""An agent before a real SuperLink: messages are answered, and whatever is killed comes back."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from flwr.app import ConfigRecord, RecordDict

from client.deploy.agent import SUPERNODE, WORKER, Agent
from client.deploy.identity import SiteIdentity
from client.deploy.isolation import without_network
from common.errors import ConfigError, TrustError
from common.files import sha256_hex
from common.trust.times import from_text
from tests.client.deploy import agent_main
from tests.client.deploy.agent_main import TOY_WORKER
from tests.client.deploy.superlink import ServerApp, SuperLink, bundle_that_writes, within
from tests.client.deploy.toy_worker import HOSTILE

ROOT = Path(__file__).parents[3]


def order(what: str, **options: str | float | int) -> RecordDict:
    """What the toy worker is to do."""
    return RecordDict({"order": ConfigRecord({"do": what, **options})})


def pid_of(agent: Agent, name: str) -> int:
    pid = agent.status()[name]["pid"]
    assert pid is not None
    return pid


@contextmanager
def running(agent: Agent) -> Iterator[Agent]:
    """Keep an agent going; its children are started by one thread, which outlives them."""
    end, ready = threading.Event(), threading.Event()
    errors: list[Exception] = []

    def run() -> None:
        try:
            agent.run(end, on_ready=ready.set)
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="agent")
    thread.start()
    try:
        within(30, ready.is_set, "the agent is ready")
        yield agent
    finally:
        end.set()
        thread.join(30)
    assert errors == []


@dataclass(frozen=True)
class Deployment:
    """A SuperLink, a site in it, and a run whose ServerApp is the test."""

    link: SuperLink
    identity: SiteIdentity
    node: int
    agent: Agent
    app: ServerApp
    bundle: bytes
    trace: Path


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("deployment")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        link = SuperLink.new(folder / "link")
        link.start()
        try:
            identity = link.admit(folder / "state")
            node, bundle = link.register(identity), bundle_that_writes(folder / "imported")
            agent = Agent(identity, folder / "site.yaml", worker_command=TOY_WORKER)
            with running(agent), link.server_app(bundle) as app:
                yield Deployment(link, identity, node, agent, app, bundle, folder / "imported")
        finally:
            link.stop()


def test_message_is_answered_by_the_installed_worker_and_the_bundle_is_not_imported(deployment: Deployment) -> None:
    reply = deployment.app.ask(deployment.node, order("echo", port=deployment.link.port))
    answer = reply.content.config_records["answer"]
    assert answer["bundle"] == sha256_hex(deployment.bundle)
    assert answer["pid"] == pid_of(deployment.agent, WORKER)
    assert answer["network"] == (0 if without_network() else 1)  # the port answers, but not where it runs
    assert not deployment.trace.exists()
    assert not list(deployment.identity.keys.folder.rglob("toy.py"))


def test_worker_killed_with_a_message_is_answered_for_and_answers_the_next(deployment: Deployment) -> None:
    worker_log = deployment.identity.keys.folder / "output" / "worker.log"
    message = deployment.app.send(deployment.node, order("sleep", seconds=33))
    before = pid_of(deployment.agent, WORKER)
    within(10, lambda: "sleeps for 33" in worker_log.read_text(), "the worker has it")
    os.kill(before, signal.SIGKILL)
    assert deployment.app.reply_to(message).error.reason == "worker"
    reply = deployment.app.ask(deployment.node, order("echo"))
    assert reply.content.config_records["answer"]["pid"] == pid_of(deployment.agent, WORKER) != before


def test_run_that_was_stopped_with_a_message_does_not_hold_up_the_next(deployment: Deployment) -> None:
    worker_log = deployment.identity.keys.folder / "output" / "worker.log"
    with deployment.link.server_app(deployment.bundle) as stopped:
        stopped.send(deployment.node, order("sleep", seconds=2))
        within(10, lambda: "sleeps for 2" in worker_log.read_text(), "the worker has it")
    assert deployment.app.ask(deployment.node, order("echo")).has_content()


def test_text_of_an_exception_stays_in_the_sites_own_log(deployment: Deployment) -> None:
    assert deployment.app.ask(deployment.node, order("raise")).error.reason == "raised"
    assert deployment.app.ask(deployment.node, order("refuse")).error.reason == "budget"
    holding = [
        path.relative_to(deployment.link.folder.parent)
        for path in deployment.link.folder.parent.rglob("*")
        if path.is_file() and HOSTILE.encode() in path.read_bytes()
    ]
    assert holding == [Path("state/output/worker.log")]  # and so in nothing of the SuperNode's or the SuperLink's


def test_supernode_killed_is_back_at_once_and_answers(deployment: Deployment) -> None:
    before = pid_of(deployment.agent, SUPERNODE)
    os.kill(before, signal.SIGKILL)
    begin = time.monotonic()
    within(20, lambda: deployment.agent.ready and pid_of(deployment.agent, SUPERNODE) != before, "a new SuperNode")
    assert time.monotonic() - begin < 15  # the server would have refused it for 60 s
    assert deployment.app.ask(deployment.node, order("echo")).has_content()


def test_second_agent_of_a_site_is_refused(deployment: Deployment) -> None:
    second = Agent(deployment.identity, Path("site.yaml"), worker_command=TOY_WORKER, isolation=tuple)
    with pytest.raises(ConfigError, match="another agent of this site is running"):
        second.run(threading.Event(), on_ready=lambda: None)


def test_agent_ends_when_its_admission_does_and_warns_before(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    end = from_text(deployment.identity.admission.expires)
    now = [end - timedelta(days=31)]
    agent = Agent(
        deployment.identity, Path("site.yaml"), worker_command=TOY_WORKER, isolation=tuple, clock=lambda: now[0]
    )

    def tick_at(days_before: float) -> None:
        now[0] = end - timedelta(days=days_before)
        agent._next_expiry = 0
        agent._next_health = float("inf")
        agent.tick()

    with caplog.at_level(logging.WARNING, "wardround.agent"):
        tick_at(31)
        assert not caplog.records
        tick_at(29)
        said = len(caplog.records)
        assert "in 29 days" in caplog.text
        tick_at(28.9)
        assert len(caplog.records) == said
        tick_at(27.9)
        assert len(caplog.records) == 2 * said
    with pytest.raises(TrustError, match="admission expired"):
        tick_at(0)


@contextmanager
def process(state: Path) -> Iterator[tuple[subprocess.Popen[str], Mapping[str, Mapping[str, int]]]]:
    """An agent in a process of its own that is ready, and its children."""
    command = [sys.executable, str(Path(agent_main.__file__)), str(state)]
    agent = subprocess.Popen(
        command,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert agent.stdout is not None
        yield agent, json.loads(agent.stdout.readline())
    finally:
        agent.kill()
        agent.communicate(timeout=10)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: looks into /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_agent_leaves_nothing_behind_within_seconds(
    deployment: Deployment, tmp_path: Path, number: signal.Signals
) -> None:
    identity = deployment.link.admit(tmp_path / "state", name="hospital-2")
    node = deployment.link.register(identity)
    with process(tmp_path / "state") as (agent, children):
        pids = [child["pid"] for child in children.values()]
        assert all(map(is_alive, pids))
        begin = time.monotonic()
        agent.send_signal(number)
        assert agent.wait(10) == (0 if number == signal.SIGTERM else -number)
        within(5, lambda: not any(map(is_alive, pids)), "the children are gone")
        assert time.monotonic() - begin < 8
    if number == signal.SIGTERM:
        assert deployment.link.node_status(node) == "offline"  # the server heard it
