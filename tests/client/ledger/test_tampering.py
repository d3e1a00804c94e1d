"""A ledger's file that was changed, cut, rolled back, lost or taken from elsewhere: what is found out, and by whom.

Not found out from the file alone, and tested as such: a ledger rolled back together with its head file, and one written
anew under another key.
"""

from __future__ import annotations

import inspect
import json
import shutil
import sqlite3
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from client.ledger.ledger import Account, Ledger
from common.errors import ConfigError, LedgerError
from common.files import sha256_hex
from common.ledger import read
from common.ledger.entries import Opened, StoredEntry, entry_from_bytes
from common.ledger.read import read_books
from common.privacy.events import Event
from common.trust.keys import SigningKey

Open = Callable[..., Ledger]
pytestmark = pytest.mark.usefixtures("basic_composition")


@pytest.fixture
def spent(open_ledger: Open, train: Account, tenth: Event, path: Path) -> Path:
    """A ledger of eight entries: three reservations, each settled."""
    spend(open_ledger, train, tenth, rounds=3)
    return path


def spend(open_ledger: Open, account: Account, event: Event, *, rounds: int) -> None:
    with open_ledger() as ledger:
        for number in range(rounds):
            said: dict[str, Any] = {"run": "r", "round_number": number, "release": "update", "event": event}
            ledger.settle(ledger.reserve(account, **said).entry, **said)


def head_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.head")


def edit(path: Path, statement: str, values: tuple[object, ...] = ()) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement, values)


def records(path: Path) -> dict[int, dict[str, Any]]:
    with closing(sqlite3.connect(path)) as connection:
        return {
            number: json.loads(record) for number, record in connection.execute("SELECT sequence, record FROM entries")
        }


def refused_by_both(path: Path, open_ledger: Open, says: str) -> None:
    """The auditor and the site itself."""
    before = path.read_bytes()
    with pytest.raises(LedgerError, match=says):
        read_books(path)
    assert path.read_bytes() == before
    with pytest.raises(LedgerError):
        open_ledger()


def changed(value: object) -> object:
    """Another value of the same kind."""
    match value:
        case bool() | None:
            return 1
        case int() | float():
            return value + 1
        case str():
            return value[:-1] + ("0" if value[-1:] != "0" else "1")
        case dict():
            name = next(iter(value))
            return {**value, name: changed(value[name])}
        case _:
            raise TypeError(value)


@pytest.mark.parametrize("with_digest", [False, True], ids=["content", "content and digest"])
def test_every_changed_field_of_every_entry_is_caught(spent: Path, open_ledger: Open, *, with_digest: bool) -> None:
    for number, said in records(spent).items():
        for name, value in said.items():
            copy = spent.with_name("copy.sqlite3")
            shutil.copy(spent, copy)
            record = json.dumps(said | {name: changed(value)}, sort_keys=True, separators=(",", ":")).encode()
            edit(copy, "UPDATE entries SET record = ? WHERE sequence = ?", (record, number))
            if with_digest:
                edit(copy, "UPDATE entries SET digest = ? WHERE sequence = ?", (sha256_hex(record), number))
            with pytest.raises(LedgerError, match=f"entry {number}: "):
                read_books(copy)
            with pytest.raises(LedgerError):
                open_ledger(copy)


@pytest.mark.parametrize("column", ["digest", "signature", "sequence"])
@pytest.mark.parametrize("number", range(1, 9))
def test_every_changed_column_is_caught(spent: Path, open_ledger: Open, number: int, column: str) -> None:
    other = {"digest": "0" * 64, "signature": b"\0" * 64, "sequence": 99}[column]
    edit(spent, f"UPDATE entries SET {column} = ? WHERE sequence = ?", (other, number))  # noqa: S608
    refused_by_both(spent, open_ledger, f"entry {number}: ")


@pytest.mark.parametrize("number", range(1, 9))
def test_every_dropped_entry_is_caught(spent: Path, open_ledger: Open, number: int) -> None:
    edit(spent, "DELETE FROM entries WHERE sequence = ?", (number,))
    refused_by_both(spent, open_ledger, f"entry {number}( |: )")


@pytest.mark.parametrize("number", range(1, 9))
def test_dropped_entry_is_caught_when_the_rest_moves_up(spent: Path, open_ledger: Open, number: int) -> None:
    edit(spent, "DELETE FROM entries WHERE sequence = ?", (number,))
    edit(spent, "UPDATE entries SET sequence = -sequence + 1 WHERE sequence > ?", (number,))
    edit(spent, "UPDATE entries SET sequence = -sequence WHERE sequence < 0")
    refused_by_both(spent, open_ledger, f"entry {number}( |: )")


@pytest.mark.parametrize("first", range(1, 8))
def test_swapped_entries_are_caught(spent: Path, open_ledger: Open, first: int) -> None:
    edit(spent, "UPDATE entries SET sequence = 1000 WHERE sequence = ?", (first,))
    edit(spent, "UPDATE entries SET sequence = ? WHERE sequence = ?", (first, first + 1))
    edit(spent, "UPDATE entries SET sequence = ? WHERE sequence = 1000", (first + 1,))
    refused_by_both(spent, open_ledger, f"entry {first}: ")


def test_all_entries_dropped_is_caught(spent: Path, open_ledger: Open) -> None:
    edit(spent, "DELETE FROM entries")
    refused_by_both(spent, open_ledger, "entry 1: is missing")


def test_changed_file_is_caught_while_it_is_open(spent: Path, open_ledger: Open, train: Account, tenth: Event) -> None:
    with open_ledger() as ledger:
        edit(spent, "DELETE FROM entries WHERE sequence > 6")
        with pytest.raises(LedgerError, match="entry 8: is not what it was"):
            ledger.reserve(train, run="r", round_number=9, release="update", event=tenth)


def test_older_copy_is_caught(spent: Path, open_ledger: Open, train: Account, tenth: Event) -> None:
    backup = spent.with_name("backup")
    shutil.copy(spent, backup)
    spend(open_ledger, train, tenth, rounds=1)
    shutil.copy(backup, spent)
    refused_by_both(spent, open_ledger, r"entry 9 is missing.*head file remembers \(entry 10\)")


def test_lost_ledger_is_not_begun_anew(spent: Path, open_ledger: Open) -> None:
    spent.unlink()
    for _ in range(2):
        with pytest.raises(LedgerError, match=r"is gone, and .* remembers 8 entries"):
            open_ledger()
        assert not spent.exists()
    spent.touch()
    with pytest.raises(LedgerError, match="is gone"):
        open_ledger()


def test_lost_head_file_is_noticed_and_an_older_one_will_do(
    spent: Path, open_ledger: Open, train: Account, tenth: Event
) -> None:
    older = head_file(spent).read_bytes()
    spend(open_ledger, train, tenth, rounds=1)
    head_file(spent).unlink()
    with pytest.raises(LedgerError, match="restore it from any backup"):
        open_ledger()
    head_file(spent).write_bytes(older)
    open_ledger().close()
    assert json.loads(head_file(spent).read_bytes())["sequence"] == 10


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"sequence":1,"digest":"x","signature":"zz"}'])
def test_damaged_head_file_is_caught(spent: Path, open_ledger: Open, content: bytes) -> None:
    head_file(spent).write_bytes(content)
    refused_by_both(spent, open_ledger, r"\.head: is damaged")


def test_head_file_that_was_written_by_hand_is_caught(spent: Path, open_ledger: Open) -> None:
    said = json.loads(head_file(spent).read_bytes())
    said["digest"] = records(spent)[8]["previous"]
    said["sequence"] = 7
    head_file(spent).write_text(json.dumps(said))
    refused_by_both(spent, open_ledger, r"\.head: the signature")


def test_ledger_of_another_site_or_key_is_refused(spent: Path, open_ledger: Open, tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="is the ledger of 'north', not of 'south'"):
        open_ledger(site="south")
    other = SigningKey.create(tmp_path / "other.pem")
    with pytest.raises(LedgerError, match="another key than the site's"):
        open_ledger(signed_by=other)
    with pytest.raises(LedgerError, match="another key than the one given"):
        read_books(spent, public_key=other.public)
    open_ledger().close()


def test_ledger_written_anew_needs_the_public_key_to_be_found_out(
    open_ledger: Open, train: Account, tenth: Event, spent: Path, tmp_path: Path, key: SigningKey
) -> None:
    """What a forger without the site's key can do at most."""
    forged = tmp_path / "forged" / "ledger.sqlite3"
    other = SigningKey.create(tmp_path / "other.pem")
    with open_ledger(forged, signed_by=other) as ledger:
        ledger.reserve(train, run="r", round_number=0, release="update", event=tenth)
    assert read_books(forged).accounts == read_books(spent).accounts
    with pytest.raises(LedgerError, match="another key"):
        read_books(forged, public_key=key.public)
    shutil.copy(forged, spent)
    refused_by_both(spent, open_ledger, r"\.head: the signature")


def test_ledger_and_head_file_rolled_back_together_pass(
    spent: Path, open_ledger: Open, train: Account, tenth: Event
) -> None:
    """The limit that the documents state: only a head that someone else kept shows this."""
    kept = {path: path.read_bytes() for path in (spent, head_file(spent))}
    spend(open_ledger, train, tenth, rounds=1)
    published = read_books(spent).head
    for path, content in kept.items():
        path.write_bytes(content)
    open_ledger().close()
    assert read_books(spent).digest_of(published.sequence) != published.digest


@pytest.mark.parametrize("offset", [0, 20, 100, 4096, 4200, 5000])
def test_damaged_file_is_refused_or_holds_what_it_held(spent: Path, open_ledger: Open, offset: int) -> None:
    """Eight bytes overwritten: in the header, in a page's tree, in a row, or where nothing is written."""
    said = [entry.body for entry in read_books(spent)]
    content = bytearray(spent.read_bytes())
    content[offset : offset + 8] = b"\xa5" * 8
    spent.write_bytes(content)
    try:
        assert [entry.body for entry in read_books(spent)] == said
        open_ledger().close()
    except (LedgerError, ConfigError):
        with pytest.raises(LedgerError):
            open_ledger()


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_truncated_file_is_refused(spent: Path, open_ledger: Open, part: float) -> None:
    content = spent.read_bytes()
    spent.write_bytes(content[: int(len(content) * part)])
    refused_by_both(spent, open_ledger, r"ledger\.sqlite3: (the file is damaged|entry 1: is missing)")


def test_another_sqlite_file_is_no_ledger(path: Path, open_ledger: Open) -> None:
    path.parent.mkdir()
    edit(path, "CREATE TABLE entries (sequence, record, digest, signature)")
    with pytest.raises(ConfigError, match="is an SQLite file, but no ledger"):
        read_books(path)
    with pytest.raises(LedgerError, match="is an SQLite file, but no ledger"):
        open_ledger()


@pytest.mark.parametrize("content", [b"", b"text", b"\0" * 5000], ids=["empty", "text", "zeros"])
def test_file_that_is_no_ledger_is_a_wrong_argument(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ConfigError, match="file: is "):
        read_books(tmp_path / "file")
    for missing in (tmp_path / "none", tmp_path):
        with pytest.raises(ConfigError, match="no such file"):
            read_books(missing)


def test_reading_leaves_the_folder_as_it_was(open_ledger: Open, train: Account, tenth: Event, path: Path) -> None:
    """Also while the site has it open, with entries that are only in the write-ahead log."""

    def state() -> dict[str, tuple[bytes, int]]:
        return {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in sorted(path.parent.iterdir())}

    ledger = open_ledger()
    ledger.reserve(train, run="r", round_number=1, release="update", event=tenth)
    before = state()
    assert "ledger.sqlite3-wal" in before
    books = read_books(path)
    assert state() == before
    assert len(books) == 3
    assert books.head == ledger.head()
    ledger.close()
    before = state()
    assert read_books(path).head == books.head
    assert state() == before


def test_copy_of_the_main_file_alone_is_caught(
    open_ledger: Open, train: Account, tenth: Event, path: Path, tmp_path: Path
) -> None:
    """Who backs up without the write-ahead log loses the newest entries; the head file tells."""
    with open_ledger() as ledger:
        ledger.reserve(train, run="r", round_number=1, release="update", event=tenth)
        copy = tmp_path / "copy.sqlite3"
        shutil.copy(path, copy)
        shutil.copy(head_file(path), head_file(copy))
    with pytest.raises((LedgerError, ConfigError)):
        read_books(copy)


def test_entry_of_a_hostile_site_that_is_signed_is_still_checked(
    open_ledger: Open, key: SigningKey, path: Path
) -> None:
    """The site has the key: what it signs must still be an entry."""
    open_ledger().close()
    said = records(path)[2] | {"sequence": True}
    record = json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
    digest = sha256_hex(record)
    signature = key.sign(digest.encode(), purpose="ledger head")
    edit(
        path, "UPDATE entries SET record = ?, digest = ?, signature = ? WHERE sequence = 2", (record, digest, signature)
    )
    refused_by_both(path, open_ledger, "entry 2: ")


def test_first_entry_says_whose_ledger_it_is(spent: Path, key: SigningKey) -> None:
    with closing(sqlite3.connect(spent)) as connection:
        (record,) = connection.execute("SELECT record FROM entries WHERE sequence = 1").fetchone()
    assert entry_from_bytes(record).body == Opened(site="north", public_key=key.public.hex, format=1)


def test_file_of_a_ledger_that_is_refused_halfway_is_closed_at_once(
    spent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left to the garbage collector it may be closed in another thread, where SQLite refuses."""
    begun: list[Generator[StoredEntry, None, None]] = []

    def refusing(entries: Generator[StoredEntry, None, None]) -> None:
        next(entries)
        begun.append(entries)
        raise LedgerError("entry 1: is damaged")

    monkeypatch.setattr(read, "Books", refusing)
    with pytest.raises(LedgerError, match="entry 1"):
        read_books(spent)
    assert [inspect.getgeneratorstate(entries) for entries in begun] == [inspect.GEN_CLOSED]
