"""How the SuperNode is started, what its log teaches, and that a process which takes no message ends."""

from __future__ import annotations

import json
import logging
import socket
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from client.deploy import supernode
from client.deploy.identity import SiteIdentity
from client.deploy.init import create_site, join
from client.deploy.supernode import Endpoint, SuperNode, deactivate_stale
from client.deploy.supernode_main import LOOPBACK, free_port
from client.network.proxy import Proxy
from client.network.way_out import WayOut
from tests.client.deploy.centre import Centre

ENDS = """
import sys, threading, time
import flwr.supernode.cli
from client.deploy import supernode_main

def main_loop_ends_by_an_error():
    print(sys.argv[1:], flush=True)
    loop = sys.modules["flwr.supernode.start_client_internal"]
    print(type(loop.time).__name__, loop.pull_objects.__kwdefaults__["initial_backoff"] < 1, flush=True)
    threading.Thread(target=time.sleep, args=(60,)).start()  # as Flower's HTTP thread

sys.modules["flwr.supernode.cli.flower_supernode"].flower_supernode = main_loop_ends_by_an_error
sys.argv = ["x", "--superlink", "host:1", "--root-certificates", "roots", "--proxy", "http://p:1", "--isolation", "x"]
supernode_main.main()
"""


@pytest.fixture
def identity(tmp_path: Path) -> SiteIdentity:
    now = datetime.now(UTC)
    centre, state = Centre.new(tmp_path / "centre", now=now), tmp_path / "state"
    create_site(state, bundle=centre.bundle, confirmed=centre.consortium.digest, name="hospital-1", now=now)
    return join(state, centre.answer(state / "request.json", now=now), now=now)


def test_command_names_the_member_and_keeps_to_loopback_with_a_secret(identity: SiteIdentity, tmp_path: Path) -> None:
    node = SuperNode(identity, tmp_path)
    command = " ".join(node.spec().command)
    secret_file = tmp_path / "superexec.secret"
    for option in (
        f"--superlink {identity.consortium.address}",
        f"--root-certificates {identity.roots_file}",
        f"--auth-supernode-private-key {identity.node_key_file}",
        "--isolation process",
        f"--superexec-auth-secret-file {secret_file}",
    ):
        assert option in command
    assert "--insecure" not in command
    assert stat.S_IMODE(secret_file.stat().st_mode) == 0o600
    assert secret_file.read_bytes() == node.secret


def test_secret_is_another_one_for_each_agent(identity: SiteIdentity, tmp_path: Path) -> None:
    nodes = [SuperNode(identity, tmp_path) for _ in range(2)]
    written = []
    for node in nodes:
        node.spec()
        written.append((tmp_path / "superexec.secret").read_bytes())
    assert written == [node.secret for node in nodes]
    assert len(set(written)) == 2
    assert all(len(secret) == 32 for secret in written)


def test_log_teaches_where_the_api_is_and_which_node_it_became(identity: SiteIdentity, tmp_path: Path) -> None:
    node = SuperNode(identity, tmp_path)
    node.read_line("INFO :      Starting Flower SuperNode")
    assert (node.endpoint, node.connected, node.activity.is_set()) == (None, False, True)
    node.read_line("Runtime API of process 41 at 127.0.0.1:9999")
    assert (node.endpoint, node.connected) == (Endpoint(41, "127.0.0.1:9999"), False)
    node.read_line("INFO :      SuperNode ID: 18314069878598993299")
    assert node.connected
    assert json.loads((tmp_path / "state" / "supernode.json").read_bytes()) == {"node_id": 18314069878598993299}


def test_words_of_the_server_in_the_log_move_neither_address_nor_node(identity: SiteIdentity, tmp_path: Path) -> None:
    node = SuperNode(identity, tmp_path)
    for line in ("Runtime API of process 1 at 192.0.2.1:80", "x Runtime API of process 1 at 127.0.0.1:80"):
        node.read_line(line)
    assert node.endpoint is None
    node.read_line("Runtime API of process 41 at 127.0.0.1:9999")
    node.read_line("INFO :      SuperNode ID: 77")
    node.read_line("Runtime API of process 1 at 127.0.0.1:80")
    node.read_line("INFO :      SuperNode ID: 78")
    assert node.endpoint == Endpoint(41, "127.0.0.1:9999")
    assert json.loads((tmp_path / "state" / "supernode.json").read_bytes()) == {"node_id": 77}


def test_next_life_knows_nothing_of_the_last_and_frees_its_registration(
    identity: SiteIdentity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    freed: list[int] = []
    monkeypatch.setattr(supernode, "deactivate_stale", lambda _, __, node_id: freed.append(node_id) is None)
    node = SuperNode(identity, tmp_path)
    node.prepare()
    assert freed == []
    node.read_line("Runtime API of process 41 at 127.0.0.1:9999")
    node.read_line("INFO :      SuperNode ID: 77")
    node.prepare()
    assert (node.endpoint, node.connected, freed) == (None, False, [77])
    SuperNode(identity, tmp_path).prepare()  # after the agent was killed
    assert freed == [77, 77]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"node_id": "7"}'])
def test_file_that_a_crash_or_a_person_has_spoilt_is_no_hindrance(
    identity: SiteIdentity, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "state" / "supernode.json").write_bytes(content)
    SuperNode(identity, tmp_path).prepare()


def test_registration_is_not_freed_where_the_server_cannot_be_asked(identity: SiteIdentity) -> None:
    assert not deactivate_stale(identity, WayOut(address="127.0.0.1:1", roots=identity.roots_file), 77)


def test_proxy_is_named_to_the_process_and_its_login_is_not(identity: SiteIdentity, tmp_path: Path) -> None:
    login = tmp_path / "login"
    login.write_bytes(b"ward:sesame")
    spec = SuperNode(identity, tmp_path, proxy=Proxy(url="http://proxy:3128", login_file=str(login))).spec()
    assert " ".join(spec.command).count(f"--proxy http://proxy:3128 --proxy-login {login}") == 1
    assert "sesame" not in " ".join(spec.command) + str(dict(spec.environment))
    assert "--proxy" not in SuperNode(identity, tmp_path).spec().command


def test_trouble_is_said_once_in_a_hospitals_words_and_again_after_it_was_over(
    identity: SiteIdentity, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node = SuperNode(identity, tmp_path)
    with caplog.at_level(logging.WARNING, "wardround.agent"):
        for _ in range(3):
            node.read_line("[code: 2004] Failed to activate SuperNode.")
        assert len(caplog.records) == 1
        assert "has revoked it; ask the coordinating centre" in caplog.text
        for _ in range(3):
            node.read_line("way out: silent")
            node.read_line("WARNING :   Connection attempt failed, retrying in 0.97 seconds")
        assert "the server does not answer" in caplog.text
        node.read_line("INFO :      SuperNode ID: 77")
        node.read_line("way out: silent")
        assert len(caplog.records) == 3
        node.read_line("way out: nonsense")
    with caplog.at_level(logging.INFO, "wardround.agent"):
        node.read_line("way out: open")
        node.read_line("way out: open")
    assert [record.getMessage() for record in caplog.records[3:]] == ["the server answers again"]
    node.read_line("way out: silent")
    assert len(caplog.records) == 5


def test_trouble_with_the_proxy_names_the_key(
    identity: SiteIdentity, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "wardround.agent"):
        SuperNode(identity, tmp_path, proxy=Proxy(url="http://proxy:3128")).read_line("way out: login")
    assert "agent.proxy=http://proxy:3128: the proxy does not take this login" in caplog.text


def test_process_ends_with_its_main_loop_though_a_thread_goes_on() -> None:
    done = subprocess.run([sys.executable, "-c", ENDS], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    announced, options, pace = done.stdout.splitlines()
    port = announced.rpartition(":")[2]
    assert announced.startswith("Runtime API of process ")
    server = ["--superlink", "host:1", "--root-certificates", "roots"]
    assert options == str([*server, "--isolation", "x", "--host", LOOPBACK, "--port", port])
    assert pace == "Pace True", "Flower's loop has its own sleeps, or its own waits for parts of a message"


def test_free_port_is_another_one_while_the_first_is_taken() -> None:
    with socket.create_server((LOOPBACK, free_port())) as taken:
        assert free_port() != taken.getsockname()[1]
