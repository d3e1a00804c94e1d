"""`wardround audit log` and `wardround audit run`: what they say, what they find, and their exit codes."""

from __future__ import annotations

import json
import re
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import wardround
from client.ledger.file import LedgerFile
from client.ledger.ledger import Account, Budget, Ledger
from common.evidence.audit_log import AuditLog
from common.evidence.log_entries import Kind
from common.evidence.log_files import GIVEN_HEAD_FILE, read_log
from common.evidence.log_heads import HeadContent
from common.evidence.manifest import (
    MANIFEST_FILE,
    STATE_FILE,
    Manifest,
    OpenSite,
    PrivateSite,
    digest_files,
    write_manifest,
)
from common.files import sha256_of_file
from common.ledger.entries import BudgetStated, Reserved
from common.ledger.read import read_books
from common.privacy.events import DiscreteLaplace
from common.trust.keys import SigningKey
from tests.common.evidence.logs import CONTENT, RUN, Side, change_content, exchange, forge, play

EVENT = DiscreteLaplace(noise_scale=4.0, releases=2)
ACCOUNT = Account(dataset_digest="ef" * 32, cohort="train")


@dataclass(frozen=True)
class Ended:
    """How the command ended."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> dict[str, Any]:
        """The JSON object on standard output."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value

    @property
    def broken(self) -> list[str]:
        """What does not hold, of the JSON object."""
        return [finding["subject"] for finding in self.said["findings"] if not finding["holds"]]


Command = Callable[..., Ended]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command in this process."""
    for name, value in (wardround.QUIET | {"COLUMNS": "200"}).items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["wardround", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            wardround.main()
        captured = capsys.readouterr()
        return Ended(int(ended.value.code or 0), captured.out, captured.err)

    return run


@dataclass(frozen=True)
class Run:
    """A run folder whose evidence is whole: two rounds of a server and one hospital."""

    folder: Path
    server: Side
    north: Side
    ledger_key: SigningKey

    @property
    def ledger(self) -> Path:
        """The hospital's ledger."""
        return self.folder / "ledgers" / "north.sqlite3"

    def release(self, number: int, log: AuditLog) -> None:
        """A release of the hospital's, charged, and in its log."""
        budget = Budget(epsilon=8.0, delta=1e-5)
        said: dict[str, Any] = {"run": RUN, "round_number": number, "release": "update", "event": EVENT}
        with Ledger.open(self.ledger, site="north", key=self.ledger_key, budget=budget) as ledger:
            entry = ledger.reserve(ACCOUNT, **said).entry
            ledger.settle(entry, **said)
        fields: dict[str, Any] = {"run": RUN, "round": number, "release": "update", "mechanism": "discrete_laplace"}
        log.append(Kind.RELEASE, content=CONTENT, ledger_entry=entry, **fields)

    def checkpoint(self, number: int, log: AuditLog) -> HeadContent:
        """The entry first, then the file."""
        state = f"state of round {number}".encode()
        staged = self.folder / "staged"
        staged.write_bytes(state)
        head = log.append(Kind.CHECKPOINT, content=sha256_of_file(staged), run=RUN, round=number)
        log.copy_to(self.folder / "logs" / "server")
        staged.replace(self.folder / STATE_FILE)
        return head.content

    def sign(self, number: int, head: HeadContent) -> None:
        """The manifest."""
        (self.folder / "summary.json").write_text("{}")
        ledger_head = read_books(self.ledger).head.digest
        manifest = Manifest(
            run=RUN,
            round_number=number,
            files=digest_files(self.folder, Path(STATE_FILE), Path("summary.json")),
            sites=(
                PrivateSite(name="north", ledger_head=ledger_head, epsilon=1.0, delta=1e-5),
                OpenSite(name="south"),
            ),
            head=head,
        )
        write_manifest(self.folder, manifest, self.server.key)

    def close(self, log: AuditLog) -> None:
        """The last entry of a run."""
        digest = sha256_of_file(self.folder / MANIFEST_FILE)
        log.append(Kind.RUN_CLOSED, content=digest, run=RUN, rounds=2, status="completed")
        log.copy_to(self.folder / "logs" / "server")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Written as a server and a hospital write it."""
    folder = tmp_path / "run"
    (folder / "checkpoint").mkdir(parents=True)
    ledger_key = SigningKey.create(tmp_path / "ledger.pem")
    made = Run(folder, Side.create(tmp_path, "server"), Side.create(tmp_path, "north"), ledger_key)
    with made.server.open() as centre, made.north.open() as hospital:
        for number in (1, 2):
            made.release(number, hospital)
            exchange(centre, hospital)
            made.sign(number, made.checkpoint(number, centre))
        made.close(centre)
        hospital.copy_to(folder / "logs" / "north")
    return made


def test_whole_run_holds(command: Command, run: Run) -> None:
    ended = command("audit", "run", run.folder)
    assert (ended.code, ended.err) == (0, "")
    assert "of server: 6 entries, all hold" in ended.out
    assert "of server, round 2, run cdcdcdcdcdcd (closed)" in ended.out
    assert "2 in the log, 2 of them at a cost; the ledger has each" in ended.out
    assert "its ledger has the head that the manifest names" in ended.out
    assert "NO" not in ended.out.split()


def test_whole_run_as_an_object(command: Command, run: Run) -> None:
    said = command("audit", "run", run.folder, "--json").said
    assert said["holds"] is True
    subjects = [finding["subject"] for finding in said["findings"]]
    assert subjects == [
        "log north",
        "log server",
        "heads of server in log north",
        "heads of north in log server",
        "manifest",
        "checkpoint/state.safetensors",
        "summary.json",
        "site north",
        "ledger north",
        "releases of north",
    ]
    assert said["manifest"]["unit_of_privacy"] == "patient"
    assert said["manifest"]["sites"]["south"] is None
    (log,) = [log for log in said["logs"] if log["owner"] == "server"]
    assert log["public_key"] == run.server.key.public.hex
    assert log["head"]["size"] == 6


def test_audit_changes_nothing(command: Command, run: Run) -> None:
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    command("audit", "run", run.folder)
    assert {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()} == before


Breaks = dict[str, tuple[Callable[[Run], object], str, list[str]]]


def replace_in(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


def forge_copy(run: Run, name: str, at: int) -> None:
    key = {"server": run.server.key, "north": run.north.key}[name]
    forge(Side(name=name, folder=run.folder / "logs" / name, key=key), change_content(at))


def drop_last_ledger_entries(run: Run) -> None:
    with closing(sqlite3.connect(run.ledger)) as connection:
        connection.execute("DELETE FROM entries WHERE sequence > 4")
        connection.commit()
    run.ledger.with_name("north.sqlite3.head").unlink()


BREAKS: Breaks = {
    "an entry changed": (
        lambda run: replace_in(run.folder / "logs" / "north" / "log.jsonl", b'"round":2', b'"round":3'),
        r"logs/north/log\.jsonl: entry 4: ",
        ["log north"],
    ),
    "the server's log written anew": (
        lambda run: forge_copy(run, "server", 3),
        r"logs/server/log\.jsonl: entries 2 to 3: one of them: is not what the log in .*/logs/north holds",
        ["heads of server in log north", "manifest"],
    ),
    "the hospital's log written anew": (
        lambda run: forge_copy(run, "north", 2),
        r"logs/north/log\.jsonl: entries 1 to 3: one of them: is not what the log in .*/logs/server holds",
        ["heads of north in log server"],
    ),
    "the state replaced": (
        lambda run: (run.folder / STATE_FILE).write_bytes(b"another model"),
        r"checkpoint/state\.safetensors: is not the file that was signed",
        [STATE_FILE],
    ),
    "the state gone": (
        lambda run: (run.folder / STATE_FILE).unlink(),
        r"checkpoint/state\.safetensors: cannot be read",
        [STATE_FILE],
    ),
    "a summary of one's own": (
        lambda run: (run.folder / "summary.json").write_text('{"better": true}'),
        r"summary\.json: is not the file that was signed",
        ["summary.json"],
    ),
    "an epsilon of one's own": (
        lambda run: replace_in(run.folder / MANIFEST_FILE, b'"epsilon": 1.0', b'"epsilon": 0.1'),
        r"manifest\.json: the signature of a checkpoint manifest does not hold",
        ["manifest"],
    ),
    "an earlier manifest, well signed": (
        lambda run: run.sign(1, read_log(run.server.folder).trail.heads[2].content),
        r"manifest\.json: is another than entry 6 of server closed the run with",
        ["manifest"],
    ),
    "the manifest gone": (
        lambda run: (run.folder / MANIFEST_FILE).unlink(),
        r"manifest\.json: is missing, and the log of server is past it",
        ["manifest"],
    ),
    "the server's log gone": (
        lambda run: (run.folder / "logs" / "server" / "log.jsonl").unlink(),
        r"manifest\.json: the signature of a checkpoint manifest does not hold",
        ["manifest"],
    ),
    "the ledger cut": (
        drop_last_ledger_entries,
        "ledger of north: an entry up to [0-9a-f]{12}, which the manifest names, was rewritten or cut off",
        ["site north", "releases of north"],
    ),
    "the ledger changed": (
        lambda run: replace_in(run.ledger, b'"noise_scale":4.0', b'"noise_scale":9.0'),
        r"ledgers/north\.sqlite3: entry \d+: ",
        ["ledger north"],
    ),
}


@pytest.mark.parametrize("what", BREAKS)
def test_broken_run_is_named_and_ends_with_4(command: Command, run: Run, what: str) -> None:
    break_, message, broken = BREAKS[what]
    break_(run)
    ended = command("audit", "run", run.folder, "--json")
    assert ended.code == 4
    assert re.search(message, ended.err), ended.err
    assert ended.broken == broken
    assert len(ended.err.splitlines()) == 1


def stop_after_the_state(run: Run) -> None:
    with run.server.open() as log:
        run.checkpoint(3, log)


def test_server_that_was_stopped_between_state_and_manifest_left_a_folder_that_holds(
    command: Command, run: Run
) -> None:
    stop_after_the_state(run)
    ended = command("audit", "run", run.folder)
    assert ended.code == 0
    assert "one checkpoint ahead of the manifest" in ended.out


def test_server_that_was_stopped_before_the_state_left_a_folder_that_holds(command: Command, run: Run) -> None:
    with run.server.open() as log:
        log.append(Kind.CHECKPOINT, content=CONTENT, run=RUN, round=3)
        log.copy_to(run.folder / "logs" / "server")
    assert command("audit", "run", run.folder).code == 0


def test_server_that_was_stopped_before_its_first_manifest_left_a_folder_that_holds(
    command: Command, tmp_path: Path
) -> None:
    server = Side.create(tmp_path, "server")
    with server.open() as log:
        log.append(Kind.CHECKPOINT, content=CONTENT, run=RUN, round=0)
        log.copy_to(tmp_path / "run" / "logs" / "server")
    ended = command("audit", "run", tmp_path / "run")
    assert ended.code == 0
    assert "none was written yet" in ended.out


def test_run_without_evidence_ends_with_1(command: Command, run: Run) -> None:
    for path in run.folder.glob("logs/*/*"):
        path.unlink()
    (run.folder / MANIFEST_FILE).unlink()
    ended = command("audit", "run", run.folder)
    assert ended.code == 1
    assert "nothing is signed here but ledgers" in ended.err
    assert "of north: 6 entries, all hold" in ended.out, "the ledgers are checked all the same"
    replace_in(run.ledger, b'"noise_scale":4.0', b'"noise_scale":9.0')
    assert command("audit", "run", run.folder).code == 4, "and a broken one counts more"


def test_overspent_ledger_ends_with_1(command: Command, run: Run) -> None:
    """Signed all the same: an honest ledger of a dishonest site."""
    more = Reserved(account=ACCOUNT, run=RUN, round_number=3, release="update", event=EVENT)
    file = LedgerFile(run.ledger, run.ledger_key)
    file.append(lambda _: [BudgetStated(budget=Budget(epsilon=0.1, delta=1e-5)), more])
    file.close()
    ended = command("audit", "run", run.folder)
    assert ended.code == 1
    assert "more was reserved than the budget let" in ended.err


def test_folder_that_is_not_there_ends_with_2(command: Command, tmp_path: Path) -> None:
    assert command("audit", "run", tmp_path / "nowhere").code == 2
    ended = command("audit", "log", tmp_path)
    assert ended.code == 2
    assert "log.jsonl: no such file; name the folder of an audit log" in ended.err
    assert command("audit", "log").code == 2


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Side, Side]:
    """A server and a hospital after three rounds."""
    server, north = Side.create(tmp_path, "server"), Side.create(tmp_path, "north")
    play(server, north, rounds=3)
    (tmp_path / "server.pem").write_bytes(server.key.public.pem)
    return server, north


def test_one_log_holds_by_itself(command: Command, sides: tuple[Side, Side]) -> None:
    ended = command("audit", "log", sides[0].folder)
    assert (ended.code, ended.err) == (0, "")
    assert "of server: 10 entries, all hold" in ended.out
    assert f"Key of server: {sides[0].key.public.hex} (named by the log itself; give --public-key" in ended.out
    assert read_log(sides[0].folder).trail.head.content.root in ended.out


def test_two_logs_are_held_against_each_other(command: Command, sides: tuple[Side, Side]) -> None:
    folders = [side.folder for side in sides]
    assert command("audit", "log", *folders).out.count("their log has them all") == 2
    forge(sides[0], change_content(5))
    assert command("audit", "log", folders[0]).code == 0, "alone, it looks as good as the first one"
    ended = command("audit", "log", *folders)
    assert ended.code == 4
    assert "entries 4 to 6: one of them: is not what the log in" in ended.err


def test_torn_line_is_said_and_no_error(command: Command, sides: tuple[Side, Side]) -> None:
    server, _ = sides
    server.file.write_bytes(server.file.read_bytes()[:-9])
    ended = command("audit", "log", server.folder)
    assert ended.code == 0
    assert "of server: 9 entries, all hold" in ended.out
    assert "bytes was cut short and does not count" in ended.out


def test_key_from_elsewhere_is_asked_for(command: Command, sides: tuple[Side, Side], tmp_path: Path) -> None:
    server, north = sides
    key = ("--public-key", tmp_path / "server.pem")
    ended = command("audit", "log", server.folder, *key)
    assert ended.code == 0
    assert "(as given)" in ended.out
    ended = command("audit", "log", north.folder, *key)
    assert ended.code == 4
    assert "entry 1: the log of north is under another key than given" in ended.err


def test_folder_without_a_given_head_is_said(command: Command, sides: tuple[Side, Side]) -> None:
    (sides[0].folder / GIVEN_HEAD_FILE).unlink()
    assert "no given_head.json: its end may have been cut" in command("audit", "log", sides[0].folder).out
