"""The server as a process: it tells who is a member as that changes, outlives its parts, and ends at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from server.deploy.control import ControlError, Node
from server.deploy.flower_processes import FlowerFiles
from server.deploy.installation import Installation, is_served, read_installation, serving
from server.deploy.membership import revoke
from server.deploy.service import Service
from tests.common.service.children import Clock, alive, until
from tests.server.deploy.joining import Asking, admitted
from tests.server.deploy.superlinks import new_server

ROOT = Path(__file__).parents[3]


@dataclass
class Server:
    """A `wardround server start` that runs."""

    installation: Installation
    process: subprocess.Popen[bytes]

    @property
    def config_file(self) -> Path:
        """Its config."""
        return self.installation.folder / "consortium.yaml"

    @property
    def said(self) -> str:
        """Its log."""
        return (self.installation.folder / "output").read_text()

    def nodes(self) -> dict[str, Node]:
        """Those that are registered, by name; none while it does not answer."""
        try:
            with FlowerFiles(self.installation.folder).control(self.installation) as control:
                return {node.name: node for node in control.nodes()}
        except ControlError:
            return {}

    def admit(self, site: Asking, name: str) -> None:
        """A member more."""
        now = datetime.now(UTC)
        admitted(self.installation, site.request(self.installation, name, now=now), now=now)

    def child(self, part: str) -> int:
        """Process id of a part."""
        found = [
            int(path.parent.name)
            for path in Path("/proc").glob("[0-9]*/cmdline")
            if part in (line := command(path)) and str(self.installation.folder) in line
        ]
        return found[0] if found else 0


def command(path: Path) -> str:
    try:
        return path.read_bytes().decode().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def wardround(*arguments: str | Path) -> list[str]:
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import wardround; wardround.main()"
    return [sys.executable, "-c", script, *map(str, arguments)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = new_server(tmp_path / "server")
    with (made.folder / "output").open("wb") as output:
        process = subprocess.Popen(
            wardround("server", "start", "--config", made.folder / "consortium.yaml"),
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=tmp_path,
        )
    running = Server(made, process)
    try:
        until(lambda: "serving sites on localhost:" in running.said, seconds=60)
        yield running
    finally:
        process.kill()
        process.wait()


def test_server_follows_members_outlives_its_parts_and_ends_at_once(server: Server, tmp_path: Path) -> None:
    assert f"localhost:{server.installation.config.port}, control on 127.0.0.1:" in server.said
    server.admit(Asking.new(tmp_path / "one"), "hospital-1")
    server.admit(Asking.new(tmp_path / "two"), "hospital-2")
    until(lambda: set(server.nodes()) == {"hospital-1", "hospital-2"})
    revoke(server.config_file, "hospital-1", reason="left", now=datetime.now(UTC))
    until(lambda: set(server.nodes()) == {"hospital-2"})

    superexec, before = server.child("flower-superexec"), server.nodes()["hospital-2"].id
    os.kill(server.child("server.deploy.superlink"), signal.SIGKILL)
    until(lambda: server.nodes().get("hospital-2") is not None, seconds=60)
    assert server.nodes()["hospital-2"].id != before, "another life of the SuperLink, told of the members anew"
    until(lambda: server.child("flower-superexec") not in {0, superexec})
    assert not alive(superexec), "what reported to the SuperLink that is gone has ended with it"

    shown = subprocess.run(
        wardround("server", "status", "--config", server.config_file, "--json"), capture_output=True, check=True
    )
    status = json.loads(shown.stdout)
    assert (status["running"], status["trouble"], status["runs"]) == (True, "", [])
    assert [(site["site"], site["registered"], site["online"]) for site in status["sites"]] == [
        ("hospital-2", True, False)
    ]
    assert [end["what"] for end in status["ends"]] == ["root certificate", "server certificate"]

    again = subprocess.run(wardround("server", "start", "--config", server.config_file), capture_output=True)
    assert (again.returncode, b"runs in this folder already" in again.stderr) == (2, True)

    parts = [server.child("server.deploy.superlink"), server.child("flower-superexec")]
    server.process.terminate()
    assert server.process.wait(10) == 0
    assert not any(map(alive, parts))
    stopped = subprocess.run(wardround("server", "status", "--config", server.config_file), capture_output=True)
    assert (stopped.returncode, b"does not run" in stopped.stdout) == (1, True)


def test_secrets_are_new_at_each_start_and_their_owners_alone(tmp_path: Path) -> None:
    files = FlowerFiles(tmp_path)
    files.make_secrets()
    before = files.secret.read_bytes(), files.token.read_bytes()
    files.make_secrets()
    after = files.secret.read_bytes(), files.token.read_bytes()
    assert len({*before, *after}) == 4
    assert {path.stat().st_mode & 0o777 for path in (files.secret, files.token)} == {0o600}
    assert min(map(len, after)) >= 32


def test_folder_has_one_server_at_a_time(installation: Installation) -> None:
    assert not is_served(installation.folder)
    with serving(installation.folder):
        assert is_served(installation.folder)
    assert not is_served(installation.folder)


class Supervised:
    """Stands for the processes: a SuperLink in its n-th life."""

    life = 1

    def tick(self) -> None:
        """Nothing."""

    def generation(self, name: str) -> int:  # noqa: ARG002 - the supervisor's signature
        """The life."""
        return self.life


class Flower:
    """Stands for the Control API, and fails when it is told to."""

    def __init__(self) -> None:
        self.fails: Exception | None = None
        self.asked = 0

    def nodes(self) -> tuple[Node, ...]:
        """None."""
        self.asked += 1
        if self.fails is not None:
            raise self.fails
        return ()

    def close(self) -> None:
        """Nothing."""


class Keeping:
    """Notes when it is called."""

    def __init__(self) -> None:
        self.lives: list[int] = []

    def tick(self, carrier: Any, generation: int) -> None:  # noqa: ARG002 - the scheduler's signature
        """Note it."""
        self.lives.append(generation)


@pytest.fixture
def unreal(installation: Installation) -> tuple[Service, Supervised, Flower, Keeping, Clock]:
    """A service whose processes are none."""
    keeping, clock = Keeping(), Clock()
    service = Service(installation.folder / "consortium.yaml", installation, scheduler=keeping, clock=clock)
    service._control.close()
    supervised, flower = Supervised(), Flower()
    service._supervisor, service._control = supervised, flower  # type: ignore[assignment]
    return service, supervised, flower, keeping, clock


def test_members_are_told_once_for_each_life_and_each_change(
    unreal: tuple[Service, Supervised, Flower, Keeping, Clock], installation: Installation
) -> None:
    service, supervised, flower, keeping, clock = unreal
    for seconds in (0.0, 0.25, 0.5, 1.0, 2.0):
        clock.now = 100.0 + seconds
        service.poll()
    assert (flower.asked, keeping.lives) == (1, [1, 1, 1]), "members once, runs once a second"
    supervised.life, clock.now = 2, 110.0
    service.poll()
    assert (flower.asked, keeping.lives[-1]) == (2, 2)
    assert service.is_ready
    content = (installation.folder / "members.json").read_bytes()
    replacement = installation.folder / "next"
    replacement.write_bytes(content)
    replacement.replace(installation.folder / "members.json")
    assert not service.is_ready


def test_trouble_is_said_once_and_gone_on_with(
    unreal: tuple[Service, Supervised, Flower, Keeping, Clock], caplog: pytest.LogCaptureFixture
) -> None:
    service, _, flower, keeping, clock = unreal
    flower.fails = ControlError("list the nodes: refused")
    for _ in range(5):
        clock.now += 1.0
        service.poll()
    assert [record.message for record in caplog.records] == ["list the nodes: refused"]
    assert keeping.lives == [], "no run is handed to a server that does not know its members"
    flower.fails = None
    clock.now += 1.0
    service.poll()
    assert keeping.lives == [1]


def test_certificate_that_ends_soon_is_warned_of_at_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = new_server(tmp_path / "server", now=datetime.fromtimestamp(time.time() - 350 * 86400, UTC))
    service = Service(tmp_path / "server" / "consortium.yaml", made, scheduler=Keeping())
    service._supervisor, service._control = Supervised(), Flower()  # type: ignore[assignment]
    service.poll()
    warned = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == 1, "the server's; the root has years to go"
    assert "server certificate: expires on" in warned[0]
    assert "wardround server rotate" in warned[0]


def test_expired_certificate_keeps_the_server_from_starting(tmp_path: Path) -> None:
    made = new_server(tmp_path / "server", now=datetime.fromtimestamp(time.time() - 400 * 86400, UTC))
    done = subprocess.run(
        wardround("server", "start", "--config", made.folder / "consortium.yaml"), capture_output=True, timeout=60
    )
    assert (done.returncode, b"server certificate expired" in done.stderr) == (4, True)
    assert not is_served(read_installation(made.folder / "consortium.yaml").folder)
