"""A consortium's server, a hospital's agent and what lies between them; the run's process is the test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from flwr.common.serde import run_from_proto
from flwr.proto.runtime_pb2 import AcquireTaskRequest, PullTaskInputRequest, SendTaskHeartbeatRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.interceptors import RuntimeTokenHttpInterceptor, SuperExecAuthHttpInterceptor
from flwr.supercore.protobuf.client import ProtobufClientInterceptor
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.superlink.grid import HttpGrid

from client.deploy.agent import Agent
from client.deploy.identity import SiteIdentity
from client.deploy.init import create_site, join
from client.network.proxy import Proxy
from common.trust.request import read_request
from server.deploy.flower_processes import FlowerFiles
from server.deploy.installation import Installation, read_installation
from server.deploy.membership import admit
from server.deploy.nodes import sync_nodes
from tests.client.deploy.agent_main import TOY_WORKER
from tests.client.deploy.superlink import ServerApp, bundle_that_writes, within
from tests.server.deploy.superlinks import SuperLink, new_server, running

_HEARTBEAT_SECONDS = 10.0
"""Flower ends a run whose process has said nothing for a minute."""


@contextmanager
def serving(folder: Path) -> Iterator[tuple[SuperLink, SiteIdentity]]:
    """A server with one member, for the block."""
    now = datetime.now(UTC)
    installation = new_server(folder / "server", hosts=("127.0.0.1",))
    invitation, state = installation.folder / "consortium.json", folder / "state"
    create_site(state, bundle=invitation, confirmed=installation.consortium.digest, name="hospital-1", now=now)
    request = state / "request.json"
    digest = read_request(request.read_bytes()).digest
    identity = join(state, admit(installation.folder / "consortium.yaml", request, confirmed=digest, now=now), now=now)
    with running(installation) as link:
        sync_nodes(link.control, read_installation(installation.folder / "consortium.yaml"))
        yield link, identity


def reached_at(identity: SiteIdentity, port: int, host: str = "127.0.0.1") -> SiteIdentity:
    """The member, who finds the server at another place."""
    consortium = replace(identity.consortium, hosts=(host,), port=port)
    return replace(identity, admission=replace(identity.admission, consortium=consortium))


@contextmanager
def agent_of(identity: SiteIdentity, *, proxy: Proxy | None = None) -> Iterator[Agent]:
    """The hospital's agent, with a worker that does what a message says; connected when the block begins."""
    agent = Agent(identity, identity.keys.folder / "site.yaml", proxy=proxy, worker_command=TOY_WORKER)
    end, ready = threading.Event(), threading.Event()
    thread = threading.Thread(target=agent.run, args=(end,), kwargs={"on_ready": ready.set}, name="agent")
    thread.start()
    try:
        within(60, ready.is_set, "the agent is ready")
        yield agent
    finally:
        end.set()
        thread.join(30)


@contextmanager
def app_of(link: SuperLink, folder: Path) -> Iterator[ServerApp]:
    """A run whose process is the test."""
    run_id = link.control.submit(bundle_that_writes(folder / "imported"))
    secret = FlowerFiles(link.installation.folder).secret.read_bytes()
    auth = SuperExecAuthHttpInterceptor(master_secret=secret, protected_methods=("/flwr.proto.Runtime/AcquireTask",))
    with _runtime(link, auth) as client:
        token = client.AcquireTask(AcquireTaskRequest(supported_task_types=[TaskType.SERVER_APP])).token
    with _runtime(link, RuntimeTokenHttpInterceptor(token)) as task:
        given = task.PullTaskInput(PullTaskInputRequest())
    grid = HttpGrid(_control(link.installation), insecure=False, root_certificates=_roots(link), token=token)
    grid.set_run(run_from_proto(given.run))
    ended = threading.Event()

    def live() -> None:
        while not ended.wait(_HEARTBEAT_SECONDS):
            grid._runtime_client.SendTaskHeartbeat(SendTaskHeartbeatRequest())

    living = threading.Thread(target=live, name="lives")
    living.start()
    try:
        yield ServerApp(grid, task_id=given.task_id, run_id=run_id, node_id=given.context.node_id)
    finally:
        ended.set()
        living.join()
        grid.close()
        link.control.stop(run_id)


def _control(installation: Installation) -> str:
    return f"127.0.0.1:{installation.config.control_port}"


def _roots(link: SuperLink) -> bytes:
    return "".join(link.installation.consortium.roots).encode()


def _runtime(link: SuperLink, interceptor: ProtobufClientInterceptor) -> RuntimeHttpClient:
    return RuntimeHttpClient.from_server_address(
        _control(link.installation), insecure=False, root_certificates=_roots(link), interceptors=[interceptor]
    )
