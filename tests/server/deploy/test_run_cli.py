"""`server run`, `stop` and `resume`: what they say, when they end, and with which exit code."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

import wardround
from server.deploy import runs
from server.deploy.config import CONFIG_FILE
from server.deploy.init import create_consortium
from server.deploy.installation import serving
from server.deploy.runs import Ending, Outcome, RunFolder, Standing, Wanted, all_runs

DIGEST = "ab" * 32


@dataclass(frozen=True)
class Ended:
    """How the command ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """A server's folder in which none runs."""
    folder = tmp_path / "server"
    create_consortium(folder, name="north-sea", hosts=["localhost"], now=datetime.now(UTC))
    return folder


@pytest.fixture
def served(server: Path) -> Iterator[Path]:
    """A server's folder that a server holds."""
    with ExitStack() as stack:
        stack.enter_context(serving(server))
        yield server


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle; that a real one is read is tested with its form."""
    path = tmp_path / "run.bundle"
    path.write_bytes(b"a bundle")
    found = SimpleNamespace(run=DIGEST, config=SimpleNamespace(federation=SimpleNamespace(rounds=2)))
    monkeypatch.setattr(runs, "read_bundle", lambda _: found)
    return path


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], server: Path) -> Command:
    def run(*arguments: str | Path) -> Ended:
        every = ["wardround", "server", *map(str, arguments), "--config", str(server / CONFIG_FILE)]
        monkeypatch.setattr(sys, "argv", every)
        with pytest.raises(SystemExit) as ended:
            wardround.main()
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, out, err)

    return run


def the_run(server: Path) -> RunFolder:
    (run,) = all_runs(server)
    return run


def end_soon(server: Path, outcome: Outcome) -> threading.Timer:
    """Let the run end while the command follows it."""

    def end() -> None:
        run = the_run(server)
        run.note("round_opened", round=1, sites=["a", "b"])
        run.note("site_answered", site="b", problem="bundle")
        run.note("round_committed", rounds=1, outcome="updated", admitted=1)
        run.end(outcome)

    timer = threading.Timer(0.5, end)
    timer.start()
    return timer


def test_run_without_a_server_says_how_to_start_it(command: Command, bundle: Path, server: Path) -> None:
    ended = command("run", bundle)
    assert ended.code == 2
    assert "wardround server start" in ended.err
    assert all_runs(server) == []


def test_run_follows_to_the_report(command: Command, bundle: Path, served: Path) -> None:
    timer = end_soon(served, Outcome(ending=Ending.COMPLETED, reason=None, exit_code=0))
    ended = command("run", bundle)
    timer.join()
    assert ended.code == 0
    assert str(the_run(served).path / "report.html") in ended.out
    assert "b dropped, it has not approved this run" in ended.err
    assert "1 hospitals, updated" in ended.err


@pytest.mark.parametrize(("ending", "code"), [(Ending.FAILED, 3), (Ending.STOPPED, 1)])
def test_run_that_ends_otherwise_gives_reason_and_exit_code(
    command: Command, bundle: Path, served: Path, ending: Ending, code: int
) -> None:
    timer = end_soon(served, Outcome(ending=ending, reason="budgets are spent", exit_code=code))
    ended = command("run", bundle)
    timer.join()
    assert ended.code == code
    assert ended.err.strip().splitlines()[-1] == f"wardround: {DIGEST[:16]}: {ending}: budgets are spent"


def test_run_whose_model_is_withheld_shows_its_report_and_is_code_one(
    command: Command, bundle: Path, served: Path
) -> None:
    line = "the model must not be published: fairness.max_gap fails"
    timer = end_soon(served, Outcome(ending=Ending.COMPLETED, reason=line, exit_code=1))
    ended = command("run", bundle)
    timer.join()
    assert ended.code == 1
    assert str(the_run(served).path / "report.html") in ended.out
    assert ended.err.strip().splitlines()[-1] == f"wardround: {DIGEST[:16]}: {line}"


def test_same_run_is_not_handed_over_twice(command: Command, bundle: Path, served: Path) -> None:
    assert command("run", bundle, "--detach").code == 0
    ended = command("run", bundle, "--detach")
    assert ended.code == 2
    assert f"wardround server resume {DIGEST[:16]}" in ended.err
    assert len(all_runs(served)) == 1


def test_stop_and_resume_set_what_is_wanted(command: Command, bundle: Path, served: Path) -> None:
    command("run", bundle, "--detach")
    assert command("stop", "abab").code == 0
    assert the_run(served).wanted is Wanted.STOP
    assert the_run(served).standing is Standing.STOPPING
    the_run(served).end(Outcome(ending=Ending.STOPPED, reason="stopped", exit_code=1))
    assert command("stop", "abab").code == 2
    assert command("resume", "abab", "--detach").code == 0
    assert (the_run(served).wanted, the_run(served).outcome) == (Wanted.RUN, None)


def test_completed_run_is_not_resumed(command: Command, bundle: Path, served: Path) -> None:
    command("run", bundle, "--detach")
    the_run(served).end(Outcome(ending=Ending.COMPLETED, reason=None, exit_code=0))
    ended = command("resume", "abab")
    assert ended.code == 2
    assert "has completed" in ended.err
    assert the_run(served).standing is Standing.COMPLETED


def test_resume_of_an_unknown_run_lists_the_known_ones(command: Command, bundle: Path, served: Path) -> None:
    command("run", bundle, "--detach")
    ended = command("resume", "ffff")
    assert ended.code == 2
    assert the_run(served).key in ended.err
