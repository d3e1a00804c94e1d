"""`wardround site init` and `join`: what they print, their exit codes, and that they ask before they make anything."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

import wardround
from client.deploy.identity import read_identity, read_keys
from common.trust.display import spoken
from tests.client.deploy.centre import Centre

CLOCK = datetime.now(UTC)


@dataclass(frozen=True)
class Ended:
    """How the command ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*arguments: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["wardround", "site", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            wardround.main()
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, out, err)

    return run


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    return Centre.new(tmp_path / "centre", now=CLOCK)


def test_init_shows_both_digests_and_what_to_send(command: Command, centre: Centre, tmp_path: Path) -> None:
    state = tmp_path / "state"
    ended = command("init", state, "--consortium", centre.bundle, "--name", "hospital-1", "--yes")
    made = read_keys(state)
    assert ended.code == 0
    assert "north-sea, at server.example.org:8443" in ended.out
    for text in (spoken(centre.consortium.digest), spoken(made.request.digest), made.node_key.public.fingerprint):
        assert text in ended.out
    assert str(state / "request.json") in ended.out
    assert "Root certificate: expires on" in ended.out


def test_init_without_an_answer_makes_nothing(command: Command, centre: Centre, tmp_path: Path) -> None:
    ended = command("init", tmp_path / "state", "--consortium", centre.bundle, "--name", "hospital-1")
    assert (ended.code, (tmp_path / "state").exists()) == (2, False)
    assert spoken(centre.consortium.digest) in ended.out


def test_init_twice_is_refused(command: Command, centre: Centre, tmp_path: Path) -> None:
    arguments = ("init", tmp_path / "state", "--consortium", centre.bundle, "--name", "hospital-1", "--yes")
    command(*arguments)
    ended = command(*arguments)
    assert (ended.code, ended.err.count("\n")) == (2, 1)


def test_join_takes_the_answer_and_refuses_a_stranger(command: Command, centre: Centre, tmp_path: Path) -> None:
    state = tmp_path / "state"
    command("init", state, "--consortium", centre.bundle, "--name", "hospital-1", "--yes")
    stranger = Centre.new(tmp_path / "stranger", now=CLOCK).answer(state / "request.json", now=CLOCK)
    assert command("join", state, stranger).code == 4
    ended = command("join", state, centre.answer(state / "request.json", now=CLOCK))
    assert ended.code == 0
    assert ended.out.startswith("hospital-1 is a member of north-sea, at server.example.org:8443\n")
    assert "Admission: expires on" in ended.out
    assert read_identity(state, now=datetime.now(UTC)).name == "hospital-1"
