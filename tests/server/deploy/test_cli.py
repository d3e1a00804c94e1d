"""`wardround server init`, `admit`, `revoke`, `rotate`: what they print, their exit codes, and what they warn of."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import wardround
from common.trust.display import spoken
from server.deploy.config import Validity
from server.deploy.init import create_consortium
from server.deploy.installation import read_installation
from tests.server.deploy.joining import Asking, said

CLOCK = datetime.now(UTC)


@dataclass(frozen=True)
class Ended:
    """How the command ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["wardround", "server", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            wardround.main()
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, out, err)

    return run


@pytest.fixture
def server(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A consortium that the command made, and the working folder from now on."""
    assert command("init", "server", "--name", "north-sea", "--host", "localhost").code == 0
    monkeypatch.chdir(tmp_path / "server")
    return tmp_path / "server"


@pytest.fixture
def request_file(server: Path, site: Asking) -> Path:
    return site.request(read_installation(server / "consortium.yaml"), now=CLOCK)


def test_init_says_what_to_send_what_to_compare_and_when_it_ends(command: Command, tmp_path: Path) -> None:
    ended = command("init", "c", "--name", "north-sea", "--host", "localhost", "--host", "192.0.2.7", "--port", "9443")
    made = read_installation(tmp_path / "c" / "consortium.yaml")
    assert ended.code == 0
    assert (made.config.hosts, made.config.port) == (["localhost", "192.0.2.7"], 9443)
    for text in ("c/consortium.json", spoken(made.consortium.digest), "_key.pem", "Root certificate: expires on"):
        assert text in ended.out
    assert "Server certificate: expires on" in ended.out


@pytest.mark.usefixtures("server")
def test_init_over_a_consortium_is_refused(command: Command, server: Path) -> None:
    ended = command("init", server, "--name", "north-sea", "--host", "localhost")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "give a new folder" in ended.err


def test_admit_shows_what_to_compare_and_where_the_answer_lies(
    command: Command, server: Path, site: Asking, request_file: Path
) -> None:
    ended = command("admit", request_file, "--yes")
    assert ended.code == 0
    for text in ("Site: hospital-1", site.node_key.public.fingerprint, spoken(said(request_file).digest)):
        assert text in ended.out
    assert str(server / "admissions" / "hospital-1.json") in ended.out


def test_admit_without_an_answer_admits_no_one(command: Command, server: Path, request_file: Path) -> None:
    ended = command("admit", request_file)
    assert ended.code == 2
    assert "--yes" in ended.err
    assert read_installation(server / "consortium.yaml").members.version == 0


def test_admit_refuses_a_forged_request(command: Command, request_file: Path) -> None:
    request_file.write_bytes(request_file.read_bytes().replace(b"hospital-1", b"hospital-2"))
    ended = command("admit", request_file, "--yes")
    assert ended.code == 4
    assert ended.err.startswith(f"wardround: {request_file}: ")
    assert "Site:" not in ended.out, "nothing of what was not proven is shown"


def test_revoke_ends_a_membership_once(command: Command, server: Path, request_file: Path) -> None:
    command("admit", request_file, "--yes")
    ended = command("revoke", "hospital-1", "--reason", "left")
    assert (ended.code, "Server certificate: expires" in ended.out) == (0, True)
    assert command("revoke", "hospital-1", "--reason", "left").code == 2
    assert command("revoke", "hospital-7", "--reason", "left").code == 2
    assert command("admit", request_file, "--yes").code == 4
    assert read_installation(server / "consortium.yaml").members.version == 2


def test_rotate_says_whom_to_send_what(command: Command, server: Path, request_file: Path) -> None:
    command("admit", request_file, "--yes")
    plain = command("rotate")
    assert plain.code == 0
    assert "Send to" not in plain.out
    renewed = command("rotate", "--ca")
    assert renewed.code == 0
    assert f"Send to hospital-1: {server / 'admissions' / 'hospital-1.json'}" in renewed.out
    assert "Cross-over to the new root: expires on" in renewed.out
    assert command("rotate", "--ca").code == 2


def test_config_is_found_from_elsewhere(command: Command, server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert command("rotate", "--config", server / "consortium.yaml").code == 0
    ended = command("rotate")
    assert ended.code == 2
    assert "give --config FILE" in ended.err


@pytest.mark.parametrize(
    ("days_ago", "code", "warning"),
    [(60, 0, None), (80, 0, "server certificate: expires on"), (101, 4, "server certificate: EXPIRED on")],
)
def test_end_is_warned_of_below_thirty_days_and_then_refused(
    command: Command,
    tmp_path: Path,
    site: Asking,
    caplog: pytest.LogCaptureFixture,
    days_ago: int,
    code: int,
    warning: str | None,
) -> None:
    made = create_consortium(
        tmp_path / "c",
        name="a",
        hosts=["localhost"],
        now=CLOCK - timedelta(days=days_ago),
        validity=Validity(server_days=100),
    )
    with caplog.at_level(logging.WARNING):
        ended = command("admit", site.request(made, now=CLOCK), "--yes", "--config", made.folder / "consortium.yaml")
    assert ended.code == code
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == (warning is not None)
    if warning:
        assert messages[0].startswith(warning)
        assert messages[0].endswith("wardround server rotate makes the next one")
    assert ("wardround server rotate" in ended.err) == (code == 4)
