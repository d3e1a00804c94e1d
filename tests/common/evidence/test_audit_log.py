"""Audit logs: what is appended stays, what is changed is named, and a crash costs nothing that was promised."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import random
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from common.canonical import canonical_json
from common.errors import ConfigError, TrustError
from common.evidence.audit_log import AuditLog
from common.evidence.log_entries import BEFORE_THE_FIRST, FORMAT, Kind
from common.evidence.log_files import GIVEN_HEAD_FILE, read_log
from common.evidence.log_trail import Trail
from common.trust.keys import SigningKey
from tests.common.evidence.logs import CONTENT, RUN, Side, admit, change_content, play, rewritten


@pytest.fixture
def server(tmp_path: Path) -> Side:
    return Side.create(tmp_path, "server")


@pytest.fixture
def filled(server: Side) -> Side:
    """A log of five entries, the last of them given away."""
    with server.open() as log:
        for number in range(1, 5):
            admit(log, number)
        log.extension_for(known=0)
    return server


def naive_root(listed: list[bytes]) -> bytes:
    if len(listed) == 1:
        return hashlib.sha256(b"\x00" + listed[0]).digest()
    split = 1
    while split * 2 < len(listed):
        split *= 2
    return hashlib.sha256(b"\x01" + naive_root(listed[:split]) + naive_root(listed[split:])).digest()


def test_log_can_be_checked_without_this_code(filled: Side) -> None:
    """JSON, SHA-256 and Ed25519 alone."""
    previous, records = BEFORE_THE_FIRST, []
    for number, line in enumerate(filled.lines, start=1):
        said = json.loads(line)
        entry = said["entry"]
        record = json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()
        records.append(record)
        digest = hashlib.sha256(record).hexdigest()
        assert (entry["number"], entry["previous"]) == (number, previous)
        assert said["root"] == naive_root(records).hex()
        head = {
            "log": hashlib.sha256(records[0]).hexdigest(),
            "size": number,
            "root": said["root"],
            "digest": digest,
            "time": entry["time"],
        }
        signed = b"wardround log head\0" + json.dumps(head, sort_keys=True, separators=(",", ":")).encode()
        key = Ed25519PublicKey.from_public_bytes(filled.key.public.raw)
        key.verify(bytes.fromhex(said["signature"]), signed)
        previous = digest
    assert len(records) == 5


def test_log_is_read_back_and_gone_on_with(filled: Side) -> None:
    with filled.open() as log:
        assert [entry.kind for entry in log.trail] == [Kind.LOG_OPENED, *[Kind.UPDATE_ADMITTED] * 4]
        assert log.trail.owner == filled.counterpart
        assert log.torn_bytes == 0
        head = log.append(Kind.RUN_CLOSED, content=CONTENT, run=RUN, rounds=4, status="completed")
        assert head == log.trail.head
    stored = read_log(filled.folder)
    assert (len(stored.trail), stored.trail.head) == (6, head)
    head.check(filled.key.public)
    assert list(stored.trail)[5].fields == {"run": RUN, "rounds": 4, "status": "completed"}


def test_files_are_their_owners_alone(filled: Side) -> None:
    assert stat.S_IMODE(filled.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in filled.folder.iterdir()} == {0o600}


def test_entry_is_flushed_before_append_returns(server: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    write, fsync = os.write, os.fsync
    with server.open() as log:
        monkeypatch.setattr(os, "write", lambda *given: done.append("write") or write(*given))
        monkeypatch.setattr(os, "fsync", lambda *given: done.append("flush") or fsync(*given))
        admit(log, 1)
        assert done == ["write", "flush"]


def test_given_head_is_on_the_disk_before_it_leaves(server: Side) -> None:
    with server.open() as log:
        extension = log.extension_for(known=0)
    assert json.loads((server.folder / GIVEN_HEAD_FILE).read_bytes()) == extension.head.as_json()


GOOD = {"run": RUN, "round": 3, "site": "north", "reason": "late"}


@pytest.mark.parametrize(
    "fields",
    [
        {**GOOD, "reason": "patient-name John Doe"},
        {**GOOD, "reason": "Traceback:\n  File"},
        {**GOOD, "reason": "Müller"},
        {**GOOD, "reason": "x" * 129},
        {**GOOD, "reason": ""},
        {**GOOD, "reason": None},
        {**GOOD, "reason": ["late"]},
        {**GOOD, "site": "North/../x"},
        {**GOOD, "round": -1},
        {**GOOD, "round": True},
        {**GOOD, "round": 1.0},
        {**GOOD, "round": 2**53},
        {**GOOD, "run": "cd"},
        {**GOOD, "run": RUN.upper()},
        {**GOOD, "patient": "doe"},
        {name: GOOD[name] for name in ("run", "round", "site")},
    ],
)
def test_entry_holds_no_more_than_its_kind_lists(server: Side, fields: dict[str, Any]) -> None:
    with server.open() as log:
        before = server.file.read_bytes()
        with pytest.raises(TrustError, match="in an entry of kind update_dropped"):
            log.append(Kind.UPDATE_DROPPED, **fields)
        assert server.file.read_bytes() == before
        log.append(Kind.UPDATE_DROPPED, **GOOD)


@pytest.mark.parametrize("content", [None, "ab", "patient-name", CONTENT.upper()])
def test_what_happened_to_something_says_its_digest(server: Side, content: str | None) -> None:
    with server.open() as log, pytest.raises(TrustError, match="content: missing, unknown or of another form"):
        log.append(Kind.CHECKPOINT, content=content, run=RUN, round=1)


def test_drop_has_no_content(server: Side) -> None:
    with server.open() as log, pytest.raises(TrustError, match="content"):
        log.append(Kind.UPDATE_DROPPED, content=CONTENT, **GOOD)


# Tampering: the first entry that does not hold is named.


def test_changed_byte_is_found_and_its_entry_named(filled: Side) -> None:
    content = filled.file.read_bytes()
    draw = random.Random(5)  # noqa: S311 - which bytes, and which bit of each
    ends = [place for place, byte in enumerate(content) if byte == ord("\n")]
    for place in [*draw.sample(range(len(content)), 600), *ends]:
        turned = bytes([content[place] ^ 1 << draw.randrange(8)])
        filled.file.write_bytes(content[:place] + turned + content[place + 1 :])
        number = content[:place].count(b"\n") + 1
        with pytest.raises(TrustError, match=rf"log\.jsonl: entry {number}: "):
            read_log(filled.folder)


def every_field(value: dict[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, inner in value.items():
        found += every_field(inner, (*path, name)) if isinstance(inner, dict) else [(*path, name)]
    return found


def test_every_changed_field_is_found_and_its_entry_named(filled: Side) -> None:
    """Each field of the third entry: of its form, with the line still in its canonical form."""
    lines = filled.lines
    fields = every_field(json.loads(lines[2]))
    assert len(fields) == 10
    for path in fields:
        said = json.loads(lines[2])
        inner = said
        for name in path[:-1]:
            inner = inner[name]
        old = inner[path[-1]]
        new = {"kind": "checkpoint", "site": "south", "time": "2020-01-01T00:00:00.000+00:00"}.get(path[-1])
        inner[path[-1]] = old + 1 if isinstance(old, int) else new or old.translate(str.maketrans("012abcd", "120bcda"))
        assert inner[path[-1]] != old
        filled.write([*lines[:2], canonical_json(said), *lines[3:]])
        with pytest.raises(TrustError, match=r"log\.jsonl: entry 3: "):
            read_log(filled.folder)


def with_field_added(line: bytes) -> bytes:
    return canonical_json(json.loads(line) | {"more": 1})


def with_field_doubled(line: bytes) -> bytes:
    return line.replace(b'{"entry":', b'{"entry":1,"entry":')


@pytest.mark.parametrize(
    ("broken", "number"),
    [
        (lambda lines: [*lines[:2], *lines[3:]], 3),
        (lambda lines: lines[1:], 1),
        (lambda lines: [*lines[:2], lines[3], lines[2], lines[4]], 3),
        (lambda lines: [*lines[:3], lines[2], *lines[3:]], 4),
        (lambda lines: lines[:4], 5),
        (lambda lines: lines[:0], 1),
        (lambda lines: [*lines, lines[4]], 6),
        (lambda lines: [*lines, lines[0]], 6),
        (lambda lines: [*lines, b"{}"], 6),
        (lambda lines: [*lines, b""], 6),
        (lambda lines: [*lines[:2], b"", *lines[2:]], 3),
        (lambda lines: [*lines[:2], b"[" * 100_000, *lines[3:]], 3),
        (lambda lines: [*lines[:2], b'{"entry":"\\ud800"}', *lines[3:]], 3),
        (lambda lines: [*lines[:2], lines[2] + b" ", *lines[3:]], 3),
        (lambda lines: [*lines[:2], with_field_added(lines[2]), *lines[3:]], 3),
        (lambda lines: [*lines[:2], with_field_doubled(lines[2]), *lines[3:]], 3),
    ],
    ids=[
        "removed",
        "first removed",
        "swapped",
        "doubled",
        "end cut",
        "all cut",
        "last again",
        "opened again",
        "an object",
        "an empty line",
        "an empty line between",
        "nested",
        "no text",
        "white space",
        "field added",
        "field doubled",
    ],
)
def test_broken_log_names_its_first_broken_entry(
    filled: Side, broken: Callable[[list[bytes]], list[bytes]], number: int
) -> None:
    filled.write(broken(filled.lines))
    with pytest.raises(TrustError, match=rf"log\.jsonl: entry {number}: "):
        read_log(filled.folder)
    content = filled.file.read_bytes()
    with pytest.raises(TrustError, match=rf"log\.jsonl: entry {number}: "):
        filled.open()
    assert filled.file.read_bytes() == content


def test_entry_under_another_key_is_refused(filled: Side, tmp_path: Path) -> None:
    """Chained and rooted as it should be, by somebody without the owner's key."""
    stranger = SigningKey.create(tmp_path / "stranger.pem")
    fields = {"run": RUN, "round": 5, "site": "north"}
    when = "2026-01-01T00:00:00.000+00:00"
    trail = Trail(filled.lines)
    forged = trail.next_line(Kind.UPDATE_ADMITTED, time=when, key=stranger, content=CONTENT, fields=fields)
    filled.write([*filled.lines, forged])
    with pytest.raises(TrustError, match="entry 6: the signature of a log head does not hold"):
        read_log(filled.folder)
    right = trail.next_line(Kind.UPDATE_ADMITTED, time=when, key=filled.key, content=CONTENT, fields=fields)
    filled.write([*filled.lines[:5], right])
    assert len(read_log(filled.folder).trail) == 6


def test_log_that_its_owner_wrote_anew_is_found_by_the_head_that_was_given(filled: Side) -> None:
    filled.write(rewritten(filled.lines, filled.key, change_content(3)))
    with pytest.raises(TrustError, match="entries 1 to 5: one of them: is not what given_head"):
        read_log(filled.folder)
    (filled.folder / GIVEN_HEAD_FILE).unlink()
    assert len(read_log(filled.folder).trail) == 5, "alone, it looks as good as the first one: hence the counterpart"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"null", b"[" * 100_000, b'{"size": 1}', b"\xff"])
def test_damaged_given_head_is_refused(filled: Side, content: bytes) -> None:
    (filled.folder / GIVEN_HEAD_FILE).write_bytes(content)
    with pytest.raises(TrustError, match=r"given_head\.json: is damaged"):
        read_log(filled.folder)


def test_log_of_another_format_is_refused(server: Side) -> None:
    fields = {"owner": "server", "public_key": server.key.public.hex, "format": FORMAT + 1}
    when = "2026-01-01T00:00:00.000+00:00"
    line = Trail().next_line(Kind.LOG_OPENED, time=when, key=server.key, content=None, fields=fields)
    with pytest.raises(TrustError, match="entry 1: the log has format 2, and this version reads 1"):
        Trail([line])


def test_other_owner_or_key_does_not_go_on_with_a_log(filled: Side, tmp_path: Path) -> None:
    for owner, key in (("north", filled.key), ("server", SigningKey.create(tmp_path / "new.pem"))):
        with pytest.raises(TrustError, match="a new key begins a new log"):
            AuditLog(filled.folder, owner=owner, key=key)
    filled.open().close()


def test_no_log_is_not_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"log\.jsonl: no such file"):
        read_log(tmp_path)


# Crashes.


def test_line_cut_at_any_byte_is_cut_off_and_said(server: Side, caplog: pytest.LogCaptureFixture) -> None:
    with server.open() as log:
        admit(log, 1)
        admit(log, 2)
    content = server.file.read_bytes()
    start = content[:-1].rfind(b"\n") + 1
    for end in range(start + 1, len(content), 7):
        server.file.write_bytes(content[:end])
        stored = read_log(server.folder)
        assert (len(stored.trail), stored.torn_bytes) == (2, end - start)
        assert server.file.read_bytes() == content[:end], "reading touches nothing"
        caplog.clear()
        with server.open() as log:
            assert (len(log.trail), log.torn_bytes) == (2, end - start)
            assert server.file.read_bytes() == content[:start]
            admit(log, 2)
        assert f"entry 3 was cut short by a crash; its {end - start} bytes were cut off" in caplog.text
        assert len(read_log(server.folder).trail) == 3


def test_crash_while_the_log_is_begun_leaves_a_log_to_begin(server: Side, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    server.open().close()
    content = server.file.read_bytes()
    for end in (0, 1, len(content) - 1):
        server.file.write_bytes(content[:end])
        with server.open() as log:
            assert (len(log.trail), log.torn_bytes) == (1, end)


def test_cut_line_that_was_vouched_for_is_no_crash(filled: Side) -> None:
    content = filled.file.read_bytes()
    filled.file.write_bytes(content[:-1])
    for opened in (filled.open, lambda: read_log(filled.folder)):
        with pytest.raises(TrustError, match=r"entry 5: is missing; given_head\.json beside it holds"):
            opened()
    assert filled.file.read_bytes() == content[:-1]


def append_until_killed(server: Side, acknowledge: int) -> None:
    """Append without end, a few bytes at a time, and say each entry that is promised."""
    write = os.write

    def slowly(descriptor: int, content: bytes) -> int:
        time.sleep(0.0005)
        return write(descriptor, content[:90])

    os.write = slowly  # type: ignore[assignment]
    log = server.open()
    while True:
        admit(log, len(log.trail))
        write(acknowledge, b".")


def test_killed_writer_loses_nothing_that_was_promised(server: Side, caplog: pytest.LogCaptureFixture) -> None:
    """36 times `kill -9` at a random moment: each promised entry is there, and at most one more."""
    caplog.set_level(logging.ERROR)
    draw = random.Random(36)  # noqa: S311 - the moments
    server.open().close()
    promised, torn = 1, 0
    for _ in range(36):
        out, into = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                append_until_killed(server, into)
            finally:
                os._exit(1)
        os.close(into)
        os.read(out, 1)
        time.sleep(draw.uniform(0, 0.012))
        os.kill(child, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        promised += 1
        while more := os.read(out, 4096):
            promised += len(more)
        os.close(out)
        with server.open() as log:
            assert promised <= len(log.trail) <= promised + 1
            promised = len(log.trail)
            torn += log.torn_bytes > 0
    assert read_log(server.folder).torn_bytes == 0
    assert torn > 0, "no kill came in the midst of a line"


def fail(number: int) -> Callable[..., int]:
    def failing(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    return failing


@pytest.mark.parametrize(("call", "number"), [("write", errno.ENOSPC), ("fsync", errno.EIO)])
def test_log_is_closed_after_an_error_of_the_disk(
    filled: Side, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    log = filled.open()
    with monkeypatch.context() as broken:
        broken.setattr(os, call, fail(number))
        with pytest.raises(TrustError, match=r"log\.jsonl: cannot be read or written"):
            admit(log, 5)
    with pytest.raises(TrustError, match="is closed; open the log anew"):
        admit(log, 5)
    with filled.open() as again:
        admit(again, 6)


def test_full_disk_leaves_a_part_that_opening_cuts_off(filled: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    write, log = os.write, filled.open()

    def until_full(descriptor: int, content: bytes) -> int:
        return write(descriptor, content[:50]) if len(content) > 300 else fail(errno.ENOSPC)()

    with monkeypatch.context() as full:
        full.setattr(os, "write", until_full)
        with pytest.raises(TrustError, match="No space left"):
            admit(log, 5)
    with filled.open() as again:
        assert (len(again.trail), again.torn_bytes > 0) == (5, True)


def test_interrupted_append_closes_the_log(filled: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    log = filled.open()
    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(os, "fsync", interrupted)
        admit(log, 5)
    with pytest.raises(TrustError, match="is closed"):
        admit(log, 5)
    with filled.open() as again:
        assert len(again.trail) == 6, "written, though nobody was told"


# One writer.


def test_second_writer_is_refused_until_the_first_one_closes(filled: Side) -> None:
    with filled.open(), pytest.raises(TrustError, match="another process has it open; a log has one writer"):
        filled.open()
    filled.open().close()


def test_second_process_cannot_write(filled: Side) -> None:
    with filled.open() as log:
        child = os.fork()
        if child == 0:
            refused = 2
            try:
                filled.open()
            except TrustError:
                refused = 0
            finally:
                os._exit(refused)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        admit(log, 5)
    assert len(read_log(filled.folder).trail) == 6


def test_threads_share_a_log(server: Side) -> None:
    with server.open() as log:
        threads = [Thread(target=lambda: [admit(log, number) for number in range(10)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(read_log(server.folder).trail) == 41


def test_log_can_be_read_while_it_is_written(filled: Side) -> None:
    with filled.open() as log:
        admit(log, 5)
        assert len(read_log(filled.folder).trail) == 6
        with pytest.raises(TrustError, match="one writer"):
            filled.open()


def test_copy_holds_what_the_log_holds(filled: Side, tmp_path: Path) -> None:
    copy = tmp_path / "run" / "logs" / "server"
    with filled.open() as log:
        log.copy_to(copy)
        admit(log, 5)
        assert len(read_log(copy).trail) == 5
        log.copy_to(copy)
        admit(log, 6)
    assert read_log(copy).trail.head.content == list(read_log(filled.folder).trail.heads)[5].content


def test_played_rounds_are_in_both_logs(server: Side, tmp_path: Path) -> None:
    north = Side.create(tmp_path, "north")
    play(server, north, rounds=2)
    kinds = [str(entry.kind) for entry in read_log(north.folder).trail]
    assert kinds == ["log_opened", *["release", "head_received"] * 2]
