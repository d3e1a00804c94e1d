"""The Control API of a real SuperLink: runs, nodes, and errors of one line."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.proto.control_pb2 import ListNodesRequest, StartRunRequest
from flwr.proto.fleet_pb2 import ActivateNodeRequest
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from common.trust.node_key import NodeKey
from server.deploy.control import ControlClient, ControlError, ControlUnreachable, RunState
from server.deploy.flower_processes import FlowerFiles
from server.deploy.installation import ROOTS_FILE, read_installation
from server.deploy.nodes import sync_nodes
from tests.server.deploy.joining import Asking, admitted
from tests.server.deploy.superlinks import PROTOBUF, SuperLink, call, free_port, new_server, node_headers, running

NO_TOKEN = "0" * 64


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SuperLink]:
    with running(new_server(tmp_path_factory.mktemp("consortium") / "server")) as link:
        yield link


def flower_app(config: str = "") -> bytes:
    """The least that Flower takes for a bundle."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as bundle:
        bundle.writestr(
            "pyproject.toml",
            '[project]\nname = "nothing"\nversion = "0.1.0"\n[tool.flwr.app]\npublisher = "wardround"\n'
            '[tool.flwr.app.components]\nserverapp = "a:app"\nclientapp = "a:app"\n[tool.flwr.app.config]\n' + config,
        )
    return content.getvalue()


def test_run_is_handed_over_waits_and_is_stopped(link: SuperLink) -> None:
    run_id = link.control.submit(flower_app())
    assert link.control.run_state(run_id) is RunState.PENDING
    assert link.control.is_alive(run_id)
    link.control.stop(run_id)
    assert link.control.run_state(run_id) is RunState.STOPPED
    assert not link.control.is_alive(run_id)
    link.control.stop(run_id)


def test_run_that_was_never_there_is_unknown_and_stopping_it_is_nothing(link: SuperLink) -> None:
    assert link.control.run_state(12345) is RunState.UNKNOWN
    link.control.stop(12345)


@pytest.mark.parametrize("app", [b"", b"PK no zip", b"x" * (11 << 20)])
def test_bundle_that_is_none_is_refused_in_one_line(link: SuperLink, app: bytes) -> None:
    with pytest.raises(ControlError, match="submit a run") as caught:
        link.control.submit(app)
    assert "\n" not in str(caught.value)


def test_node_is_registered_by_its_openssh_line_and_never_again(link: SuperLink, tmp_path: Path) -> None:
    key = NodeKey.create(tmp_path / "node").public.openssh
    node_id = link.control.register(key, name="hospital-9")
    [found] = [node for node in link.control.nodes() if node.id == node_id]
    assert (found.key, found.name, found.online) == (key, "hospital-9", False)
    with pytest.raises(ControlError, match="register hospital-9: refused"):
        link.control.register(key, name="hospital-9")
    link.control.unregister(node_id)
    assert node_id not in {node.id for node in link.control.nodes()}
    with pytest.raises(ControlError, match="unregister"):
        link.control.unregister(node_id)


def test_members_are_registered_with_a_real_server_and_a_revoked_key_is_refused(
    link: SuperLink, tmp_path: Path
) -> None:
    site, now = Asking.new(tmp_path / "site"), datetime.now(UTC)
    admitted(link.installation, site.request(link.installation, now=now), now=now)
    sync_nodes(link.control, read_installation(link.installation.folder / "consortium.yaml"))
    private = site.node_key._private
    activate = ActivateNodeRequest(public_key=public_key_to_bytes(private.public_key()), heartbeat_interval=30)
    assert call(link, "/v1/fleet/activate-node", activate, node_headers(private)).status_code == 200
    [node] = [node for node in link.control.nodes() if node.name == "hospital-1"]
    assert node.online
    sync_nodes(link.control, link.installation)  # as it was before the admission
    assert call(link, "/v1/fleet/activate-node", activate, node_headers(private)).status_code >= 400
    assert link.control.nodes() == ()


@pytest.mark.parametrize("headers", [{}, {"authorization": "Basic 00"}, {"authorization": "Bearer 00"}])
def test_control_api_asks_for_the_token(link: SuperLink, headers: dict[str, str]) -> None:
    headers = {"content-type": PROTOBUF, **headers}
    for path, message in [("list-nodes", ListNodesRequest()), ("start-run", StartRunRequest())]:
        response = call(link, f"/v1/control/{path}", message, headers, address=link.private)
        assert response.status_code == 401


def test_client_with_another_token_is_told_so(link: SuperLink) -> None:
    roots = (link.installation.folder / ROOTS_FILE).read_text()
    with (
        ControlClient(port=link.installation.config.control_port, roots=roots, token=NO_TOKEN) as client,
        pytest.raises(ControlError, match="token is not that of the server"),
    ):
        client.nodes()


def test_server_with_another_root_is_not_believed(link: SuperLink, tmp_path: Path) -> None:
    other = new_server(tmp_path / "other")
    with (
        ControlClient(
            port=link.installation.config.control_port, roots=other.consortium.root.pem, token=NO_TOKEN
        ) as client,
        pytest.raises(ControlUnreachable, match="certificate does not hold"),
    ):
        client.submit(flower_app())


def test_server_that_is_not_there_is_unreachable(link: SuperLink, tmp_path: Path) -> None:
    roots = (link.installation.folder / ROOTS_FILE).read_text()
    with ControlClient(port=free_port(), roots=roots, token=NO_TOKEN) as client, pytest.raises(ControlUnreachable):
        client.nodes()
    silent = new_server(tmp_path / "silent")
    with pytest.raises(ControlUnreachable, match="wardround server start"):
        FlowerFiles(silent.folder).control(silent)


def test_key_of_another_curve_than_nist_is_refused_by_flower_too(link: SuperLink) -> None:
    key = ec.generate_private_key(ec.SECP256K1())
    assert call(link, "/v1/fleet/activate-node", ActivateNodeRequest(), node_headers(key)).status_code == 401
