"""A SuperLink as an intruder finds it: what faces the network gives nothing away, and each forgery is refused.

Each refusal has its counterpart that passes, so that a server that refuses everything fails here too.
"""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    PullMessagesRequest,
    RegisterNodeFleetRequest,
    UnregisterNodeFleetRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.node_pb2 import Node
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.auth import create_superexec_auth_metadata, derive_auth_secret
from flwr.supercore.constant import TaskType
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from common.service.quiet import QUIET
from server.deploy.control import ControlUnreachable, RunState
from server.deploy.flower_processes import FlowerFiles
from server.deploy.sites_only import FLEET_PATHS, MOST_BODY_BYTES
from tests.server.deploy.joining import Asking
from tests.server.deploy.superlinks import PROTOBUF, SuperLink, call, new_server, node_headers, running, started
from tests.server.deploy.test_control import flower_app

ACQUIRE = "/v1/runtime/acquire-task"
SIGNED_AGE = timedelta(seconds=306)
"""Flower takes a signature for 300 seconds, and 5 more for clocks that differ."""

CLOSED = [
    "/",
    "/docs",
    "/docs/oauth2-redirect",
    "/redoc",
    "/openapi.json",
    "/favicon.ico",
    "/metrics",
    "/.well-known/security.txt",
    "/v1",
    "/v1/",
    "/v1/control/list-nodes",
    "/v1/control/list-runs",
    "/v1/control/start-run",
    "/v1/control/stop-run",
    "/v1/control/stream-logs",
    "/v1/control/register-node",
    "/v1/control/get-login-details",
    "/v1/runtime/acquire-task",
    "/v1/runtime/pull-task-input",
    "/v1/runtime/push-messages",
    "/v1/runtime/get-nodes",
    "/v1/runtime/responses",
    "/v1/responses",
    "/v1/fleet",
    "/v1/fleet/",
    "/v1/fleet/register-node",
    "/v1/fleet/unregister-node",
    "/v1/fleet/nothing",
    "/flwr.proto.Control/StartRun",
    "/health/",
]
TRICKS = [
    "//v1/control/list-nodes",
    "/v1//control/list-nodes",
    "/v1/fleet/../control/list-nodes",
    "/v1/fleet/..%2fcontrol/list-nodes",
    "/v1/fleet/%2e%2e/control/list-nodes",
    "/v1/fleet%2f..%2fcontrol%2flist-nodes",
    "/%76%31/control/list-nodes",
    "/v1/fleet/pull-messages/../../control/list-nodes",
    "/v1/fleet/pull-messages;/../../control/list-nodes",
    "/v1/fleet/pull-messages%00",
    "/v1/fleet/pull%2dmessages",
    "/V1/FLEET/PULL-MESSAGES",
    "/health/../docs",
    "/health%2f..%2fdocs",
    "/health;/docs",
    "/v1\\fleet\\pull-messages",
    "http://localhost/v1/control/list-nodes",
    "//localhost/docs",
]


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SuperLink]:
    with running(new_server(tmp_path_factory.mktemp("consortium") / "server")) as link:
        yield link


@pytest.fixture(scope="module")
def member(link: SuperLink, tmp_path_factory: pytest.TempPathFactory) -> ec.EllipticCurvePrivateKey:
    """The node key of a site that the centre registered."""
    site = Asking.new(tmp_path_factory.mktemp("site"))
    link.control.register(site.node_key.public.openssh, name="hospital-1")
    return site.node_key._private


def raw(link: SuperLink, request: str, *, context: ssl.SSLContext | None = None) -> str:
    """What comes back for bytes that no client library would send."""
    with (
        socket.create_connection(("127.0.0.1", link.installation.config.port), timeout=10) as plain,
        (context or link.context).wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        secured.sendall(request.encode())
        answer = b""
        while chunk := secured.recv(65536):
            answer += chunk
    return answer.decode()


def asked(link: SuperLink, target: str, *, method: str = "POST", headers: str = "") -> tuple[int, str]:
    """Status and body for a target that is sent as it stands."""
    answer = raw(link, f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n")
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split(" ")[1]), body


def activation(key: ec.EllipticCurvePrivateKey) -> ActivateNodeRequest:
    return ActivateNodeRequest(public_key=public_key_to_bytes(key.public_key()), heartbeat_interval=30)


def test_health_answers_and_says_nothing(link: SuperLink) -> None:
    assert asked(link, "/health", method="GET") == (200, "")


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_scan_finds_nothing(link: SuperLink, method: str) -> None:
    assert {path: asked(link, path, method=method) for path in CLOSED} == dict.fromkeys(CLOSED, (404, ""))


@pytest.mark.parametrize("target", TRICKS)
def test_trick_finds_nothing(link: SuperLink, target: str) -> None:
    assert asked(link, target) in {(404, ""), (400, "Invalid HTTP request received.")}
    assert asked(link, target, method="GET") in {(404, ""), (400, "Invalid HTTP request received.")}


def test_header_does_not_open_another_path(link: SuperLink) -> None:
    for header in (
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Forwarded-Prefix",
        "X-Forwarded-Path",
        "X-HTTP-Method-Override",
    ):
        assert asked(link, "/", headers=f"{header}: /v1/control/list-nodes\r\n") == (404, "")
    upgrade = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    assert asked(link, "/v1/control/list-nodes", method="GET", headers=upgrade)[0] == 404


@pytest.mark.parametrize("host", ["x/v1/runtime/pull-object?", "x/v1/control/list-nodes#", "x@y", "[::1]/docs?", ""])
def test_host_header_does_not_get_around_the_node_key(link: SuperLink, host: str) -> None:
    """Frameworks that take the path from the Host header were passed this way (fixed in Starlette)."""
    request = f"POST /v1/fleet/pull-object HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
    answer = raw(link, f"{request}Content-Type: {PROTOBUF}\r\nContent-Length: 0\r\n\r\n")
    assert answer.split(" ")[1] in {"400", "401"}


def test_every_open_path_asks_for_a_node_key(link: SuperLink) -> None:
    with link.client() as client:
        found = {
            path: client.post(link.public + path, content=b"", headers={"content-type": PROTOBUF}).status_code
            for path in FLEET_PATHS
        }
    assert found == dict.fromkeys(FLEET_PATHS, 401)


def test_member_is_served(link: SuperLink, member: ec.EllipticCurvePrivateKey) -> None:
    activated = call(link, "/v1/fleet/activate-node", activation(member), node_headers(member))
    assert activated.status_code == 200
    [node] = link.control.nodes()
    pull = PullMessagesRequest(node=Node(node_id=node.id))
    assert call(link, "/v1/fleet/pull-messages", pull, node_headers(member)).status_code == 200


def test_key_that_is_not_registered_is_refused(link: SuperLink, member: ec.EllipticCurvePrivateKey) -> None:
    stranger = ec.generate_private_key(ec.SECP384R1())
    assert call(link, "/v1/fleet/activate-node", activation(stranger), node_headers(stranger)).status_code >= 400
    [node] = link.control.nodes()
    pull = PullMessagesRequest(node=Node(node_id=node.id))
    assert call(link, "/v1/fleet/pull-messages", pull, node_headers(stranger)).status_code == 401
    assert call(link, "/v1/fleet/activate-node", activation(member), node_headers(stranger)).status_code == 401


def test_site_cannot_register_itself(link: SuperLink) -> None:
    """404 by the filter; and on loopback, where the filter is not, Flower refuses it as well."""
    stranger = ec.generate_private_key(ec.SECP384R1())
    register = RegisterNodeFleetRequest(public_key=public_key_to_bytes(stranger.public_key()))
    path, headers = "/v1/fleet/register-node", node_headers(stranger)
    assert call(link, path, register, headers).status_code == 404
    assert call(link, path, register, headers, address=link.private).status_code == 412
    unregister = UnregisterNodeFleetRequest(node_id=1)
    assert call(link, "/v1/fleet/unregister-node", unregister, headers).status_code == 404
    assert len(link.control.nodes()) <= 1


def test_replayed_request_is_refused_once_it_is_old(link: SuperLink, member: ec.EllipticCurvePrivateKey) -> None:
    [node] = link.control.nodes()
    beat = SendNodeHeartbeatRequest(node=Node(node_id=node.id), heartbeat_interval=30)
    statuses = {
        age: call(link, "/v1/fleet/send-node-heartbeat", beat, node_headers(member, age=age)).status_code
        for age in (timedelta(seconds=10), SIGNED_AGE, timedelta(days=1), -timedelta(seconds=60))
    }
    assert list(statuses.values()) == [200, 401, 401, 401]


def test_signature_of_another_time_is_refused(link: SuperLink, member: ec.EllipticCurvePrivateKey) -> None:
    old, new = node_headers(member, age=SIGNED_AGE), node_headers(member)
    forged = old | {"flwr-timestamp": new["flwr-timestamp"]}
    assert call(link, "/v1/fleet/activate-node", activation(member), forged).status_code == 401


def test_body_that_is_too_long_is_refused(link: SuperLink, member: ec.EllipticCurvePrivateKey) -> None:
    with link.client() as client:
        body = b"\0" * (MOST_BODY_BYTES + 1)
        answer = client.post(link.public + "/v1/fleet/push-object", content=body, headers=node_headers(member))
    assert (answer.status_code, answer.content) == (413, b"")


def test_head_that_does_not_end_is_refused(link: SuperLink) -> None:
    head = f"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Long: {'a' * 30_000}"
    assert raw(link, head).split(" ")[1] == "400"


def test_tls_below_1_3_is_refused(link: SuperLink) -> None:
    context = link.context
    assert "HTTP/1.1 200" in raw(link, "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", context=context)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        raw(link, "GET /health HTTP/1.1\r\n\r\n", context=context)


def test_server_says_nothing_of_what_it_is(link: SuperLink) -> None:
    with link.client() as client:
        headers = client.get(link.public + "/health").headers
    assert set(headers) <= {"date", "content-length", "connection"}


def test_client_refuses_a_server_under_another_root(link: SuperLink, tmp_path: Path) -> None:
    other = new_server(tmp_path / "other")
    context = ssl.create_default_context(cadata=other.consortium.root.pem)
    with httpx.Client(verify=context) as client, pytest.raises(httpx.ConnectError, match=r"(?i)certificate"):
        client.get(link.public + "/health")


def test_client_refuses_a_server_by_another_name(tmp_path: Path) -> None:
    with running(new_server(tmp_path / "server", hosts=("server.example.org",))) as elsewhere:
        with elsewhere.client() as client, pytest.raises(httpx.ConnectError, match=r"(?i)certificate"):
            client.get(elsewhere.public + "/health")
        with elsewhere.client() as client:
            assert client.get(elsewhere.private + "/health").status_code == 200, "its own processes dial 127.0.0.1"


def test_client_refuses_an_expired_certificate(tmp_path: Path) -> None:
    made = new_server(tmp_path / "server", now=datetime.now(UTC) - timedelta(days=400))
    with started(made), FlowerFiles(made.folder).control(made) as control:
        context = ssl.create_default_context(cadata=made.consortium.root.pem)
        with httpx.Client(verify=context) as client, pytest.raises(httpx.ConnectError, match="expired"):
            client.get(f"https://localhost:{made.config.port}/health")
        with pytest.raises(ControlUnreachable, match="certificate does not hold"):
            control.nodes()


def acquire(link: SuperLink, secret: bytes | None, *, address: str) -> httpx.Response:
    """Ask for a task as `flower-superexec` does."""
    message = AcquireTaskRequest(supported_task_types=[TaskType.SERVER_APP])
    headers = {"content-type": PROTOBUF}
    if secret is not None:
        headers |= create_superexec_auth_metadata(
            auth_secret=derive_auth_secret(secret), method="/flwr.proto.Runtime/AcquireTask", request=message
        )
    return call(link, ACQUIRE, message, headers, address=address)


def test_who_has_another_secret_gets_no_task(link: SuperLink) -> None:
    run_id = link.control.submit(flower_app())
    secret = FlowerFiles(link.installation.folder).secret.read_bytes()
    for wrong in (None, b"another", secret + b"\n"):
        assert acquire(link, wrong, address=link.private).status_code == 401
    assert acquire(link, secret, address=link.public).status_code == 404
    assert link.control.run_state(run_id) is RunState.PENDING
    taken = acquire(link, secret, address=link.private)
    assert taken.status_code == 200
    assert b"flwr-serverapp" in taken.content, "the right secret takes the very task that the wrong ones asked for"
    link.control.stop(run_id)


def test_rogue_superexec_gets_no_task(link: SuperLink, tmp_path: Path) -> None:
    """Flower's own program, with the consortium's root and no secret, or another."""
    run_id = link.control.submit(flower_app())
    (tmp_path / "secret").write_bytes(b"another")
    program = Path(sysconfig.get_path("scripts")) / "flower-superexec"
    rogues = [
        subprocess.Popen(
            [
                *(sys.executable, program, "--runtime-api-address", link.private.removeprefix("https://")),
                *("--root-certificates", link.installation.folder / "consortium.crt", *secret),
            ],
            env=os.environ | QUIET | {"FLWR_HOME": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for secret in ([], ["--superexec-auth-secret-file", tmp_path / "secret"])
    ]
    for rogue in rogues:
        rogue.communicate(timeout=30)
        assert rogue.returncode not in {None}, "it ends by itself, refused"
    assert link.control.run_state(run_id) is RunState.PENDING
    link.control.stop(run_id)
