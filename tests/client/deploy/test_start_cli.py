"""`wardround site start`: what it checks before anything is started, and what it starts."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import pytest

import wardround
from client.deploy import start_cli
from client.deploy.identity import SiteIdentity
from client.deploy.init import create_site, join
from client.network.proxy import Proxy
from tests.client.deploy.centre import Centre
from tests.common.service.ports import taken_port

EXAMPLE = Path(__file__).parents[3] / "configs" / "site.example.yaml"

Start = Callable[[Path], tuple[int, str, str]]


class IdleAgent:
    """An agent that is ready at once, and ends."""

    started: list[tuple[str, Path]]
    proxies: ClassVar[list[Proxy | None]] = []

    def __init__(self, identity: SiteIdentity, config_file: Path, *, proxy: Proxy | None) -> None:
        self.started.append((identity.name, config_file))
        self.proxies.append(proxy)

    def status(self) -> dict[str, object]:
        """It has no processes."""
        return {}

    def health(self) -> dict[str, bool]:
        """Nor anything that serves."""
        return {}

    def run(self, end: threading.Event, *, on_ready: Callable[[], None]) -> None:
        """Be ready."""
        assert not end.is_set()
        on_ready()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path]]:
    """Site and configuration of each agent that was started."""
    agents: list[tuple[str, Path]] = []
    monkeypatch.setattr(start_cli, "Agent", type("Started", (IdleAgent,), {"started": agents}))
    for name in ("log_as_json", "cut_small"):  # they are for a process of its own
        monkeypatch.setattr(start_cli, name, lambda *_: None)
    return agents


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Start:
    def run(config: Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["wardround", "site", "start", "--config", str(config)])
        with pytest.raises(SystemExit) as ended:
            wardround.main()
        assert isinstance(ended.value.code, int)
        return (ended.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    return Centre.new(tmp_path / "centre", now=datetime.now(UTC))


@pytest.fixture
def config(tmp_path: Path, centre: Centre) -> Path:
    """The site.yaml of a member."""
    now, state = datetime.now(UTC), tmp_path / "state"
    create_site(state, bundle=centre.bundle, confirmed=centre.consortium.digest, name="hospital-1", now=now)
    join(state, centre.answer(state / "request.json", now=now), now=now)
    path = tmp_path / "site.yaml"
    text = EXAMPLE.read_text().replace("site: north-hospital", "site: hospital-1    ")
    path.write_text(re.sub(r"(_port: )\d+", r"\g<1>0", text))
    return path


def test_start_runs_the_agent_of_the_member_and_says_when_it_is_ready(
    start: Start, started: list[tuple[str, Path]], config: Path
) -> None:
    code, out, _ = start(config)
    assert code == 0
    assert started == [("hospital-1", config)]
    assert "Admission: expires on" in out
    assert out.endswith("hospital-1 is ready: north-sea at server.example.org:8443\n")


@pytest.mark.parametrize("key", ["metrics_port", "health_port"])
def test_start_refuses_a_port_that_is_taken(
    start: Start, started: list[tuple[str, Path]], config: Path, key: str
) -> None:
    with taken_port() as port:
        config.write_text(config.read_text().replace(f"{key}: 0", f"{key}: {port}"))
        code, _, err = start(config)
    assert code == 2
    assert f"{key}={port}: cannot be listened on" in err
    assert started == [("hospital-1", config)]  # made, but never told to run


def test_start_refuses_the_state_folder_of_another_site(
    start: Start, started: list[tuple[str, Path]], config: Path
) -> None:
    config.write_text(config.read_text().replace("hospital-1", "hospital-2"))
    code, _, err = start(config)
    assert code == 2
    assert "site=hospital-2, but its state_folder is of hospital-1" in err
    assert started == []


def test_start_refuses_a_site_that_has_not_joined(
    start: Start, started: list[tuple[str, Path]], config: Path, tmp_path: Path
) -> None:
    (tmp_path / "state" / "admission.json").unlink()
    code, _, err = start(config)
    assert code == 2
    assert "wardround site join" in err
    assert started == []


def test_start_refuses_keys_that_others_can_read(
    start: Start, started: list[tuple[str, Path]], config: Path, tmp_path: Path
) -> None:
    (tmp_path / "state" / "node_key").chmod(0o644)
    code, _, err = start(config)
    assert code == 4
    assert "chmod 600" in err
    assert started == []


def test_agent_goes_out_by_the_proxy_of_the_file_whose_login_is_looked_at_first(
    start: Start, started: list[tuple[str, Path]], config: Path, tmp_path: Path
) -> None:
    text = config.read_text().replace('proxy: ""', "proxy: http://proxy:3128")
    config.write_text(text.replace('proxy_login: ""', "proxy_login: login"))
    code, _, err = start(config)
    assert (code, started) == (4, [])
    assert f"{tmp_path / 'login'}: cannot be read" in err
    (tmp_path / "login").write_text("ward:sesame")
    (tmp_path / "login").chmod(0o600)
    assert start(config)[0] == 0
    assert IdleAgent.proxies[-1] == Proxy(url="http://proxy:3128", login_file=str(tmp_path / "login"))


def test_process_of_the_agent_cuts_arrays_small(
    start: Start, config: Path, monkeypatch: pytest.MonkeyPatch, started: list[tuple[str, Path]]
) -> None:
    class Cut(Exception):
        """Ends it there."""

    def cut() -> None:
        raise Cut

    monkeypatch.setattr(start_cli, "cut_small", cut)
    with pytest.raises(Cut):
        start(config)
    assert started == []
