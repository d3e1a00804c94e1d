"""Heads that two sides hold of each other: neither can change its past alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ConfigError, TrustError
from common.evidence.log_audit import LogEvidence, audit_logs, raise_first
from common.evidence.log_entries import FORMAT, Kind, Line, line_from_bytes
from common.evidence.log_files import GIVEN_HEAD_FILE, read_log
from common.evidence.log_heads import Extension, SignedHead, check_consistency
from common.evidence.log_trail import Trail, head_fields
from common.evidence.merkle import Tree, leaf_hash
from common.trust.keys import SigningKey
from tests.common.evidence.logs import CONTENT, RUN, Side, admit, change_content, exchange, forge, play, rewritten

KEY, STRANGER = (SigningKey(Ed25519PrivateKey.generate()) for _ in range(2))
WHEN = "2026-01-01T00:00:00.000+00:00"


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Side, Side]:
    """A server and a hospital after three rounds, heads exchanged after each.

    The server's log has entries 1; 2-4, 5-7, 8-10 (round, update, head of north); north held 3, 6, 9 of it.
    """
    server, north = Side.create(tmp_path, "server"), Side.create(tmp_path, "north")
    play(server, north, rounds=3)
    return server, north


def evidence_of(*sides: Side) -> LogEvidence:
    return audit_logs([side.folder for side in sides])


def refusal_of(*sides: Side) -> str:
    with pytest.raises(TrustError) as refused:
        raise_first(evidence_of(*sides).findings)
    return str(refused.value)


def test_logs_of_both_sides_hold_against_each_other(sides: tuple[Side, Side]) -> None:
    evidence = evidence_of(*sides)
    raise_first(evidence.findings)
    said = {finding.subject: finding.says for finding in evidence.findings}
    assert said["heads of north in log server"] == "3 held, each extends the one before; their log has them all"
    assert said["heads of server in log north"] == "3 held, each extends the one before; their log has them all"
    assert said["log server"] == "of server: 10 entries, all hold; from entry 10 on, nobody else was told yet"


def test_other_log_that_is_not_there_is_said(sides: tuple[Side, Side]) -> None:
    evidence = evidence_of(sides[1])
    raise_first(evidence.findings)
    assert evidence.findings[-1].says.endswith("their log is not here, or does not hold")


@pytest.mark.parametrize(("entry", "first", "last"), [(2, 1, 3), (3, 1, 3), (5, 4, 6), (6, 4, 6), (8, 7, 9), (9, 7, 9)])
def test_log_that_its_owner_wrote_anew_is_caught_by_the_counterparts(
    sides: tuple[Side, Side], entry: int, first: int, last: int
) -> None:
    server, north = sides
    forge(server, change_content(entry))
    raise_first(evidence_of(server).findings)  # alone, it looks as good as the first one
    assert re.search(
        rf"server/log\.jsonl: entries {first} to {last}: one of them: is not what the log in .*north holds",
        refusal_of(server, north),
    )


def test_hospitals_log_that_it_wrote_anew_is_caught_by_the_servers(sides: tuple[Side, Side]) -> None:
    server, north = sides
    forge(north, change_content(4))
    assert re.search(r"north/log\.jsonl: entries 4 to 5: one of them: is not what", refusal_of(server, north))


def test_entry_that_was_rewritten_alone_between_two_heads_is_named(tmp_path: Path) -> None:
    server, north = Side.create(tmp_path, "server"), Side.create(tmp_path, "north")
    with server.open() as centre, north.open() as hospital:
        for number in range(4):
            admit(centre, number)
            held = hospital.trail.held(server.counterpart)
            extension = centre.extension_for(known=held.content.size if held else 0)
            hospital.receive(extension, counterpart=server.counterpart)
    forge(server, change_content(4))
    assert "server/log.jsonl: entry 4: is not what the log in" in refusal_of(server, north)


def test_log_that_both_sides_write_anew_together_is_not_caught(sides: tuple[Side, Side]) -> None:
    """The limit of two: whoever else kept a head still catches them."""
    server, north = sides
    kept = read_log(server.folder).trail.head
    for folder in (server.folder, north.folder):
        for path in folder.iterdir():
            path.unlink()
    play(server, north, rounds=3)
    raise_first(evidence_of(server, north).findings)
    with pytest.raises(TrustError, match="entries 1 to 10: one of them: is not what the report holds"):
        read_log(server.folder).trail.check_against([kept.content], holder="the report")


@pytest.mark.parametrize("kept", [1, 5, 8])
def test_log_that_was_cut_is_caught_by_the_counterparts(sides: tuple[Side, Side], kept: int) -> None:
    server, north = sides
    server.write(server.lines[:kept])
    (server.folder / GIVEN_HEAD_FILE).unlink()
    raise_first(evidence_of(server).findings)
    held = next(size for size in (3, 6, 9) if size > kept)
    assert f"entry {kept + 1}: is missing; the log in {north.folder} holds a signed head of {held}" in refusal_of(
        server, north
    )


def test_log_under_a_new_key_is_caught_by_the_counterparts(sides: tuple[Side, Side], tmp_path: Path) -> None:
    server, north = sides
    stranger = SigningKey.create(tmp_path / "stranger.pem")

    def name_stranger(_: int, entry: dict[str, Any]) -> None:
        if entry["kind"] == "log_opened":
            entry["fields"]["public_key"] = stranger.public.hex

    server.write(rewritten(server.lines, stranger, name_stranger))
    (server.folder / GIVEN_HEAD_FILE).unlink()
    raise_first(evidence_of(server).findings)
    assert "entry 1: is signed with another key than the log in" in refusal_of(server, north)
    with pytest.raises(TrustError, match="entry 1: the log of server is under another key than given"):
        raise_first(audit_logs([server.folder], known=[server.key.public]).findings)


def test_known_keys_pass(sides: tuple[Side, Side]) -> None:
    server, north = sides
    known = [server.key.public, north.key.public]
    raise_first(audit_logs([server.folder, north.folder], known=known).findings)


def add_entry(trail: Trail) -> bytes:
    """One more entry at the end of a trail of the server's, and its line."""
    fields: dict[str, Any] = {"run": RUN, "round": len(trail), "site": "north"}
    if len(trail) == 0:
        fields = {"owner": "server", "public_key": KEY.public.hex, "format": FORMAT}
    kind, content = (Kind.UPDATE_ADMITTED, CONTENT) if len(trail) else (Kind.LOG_OPENED, None)
    line = trail.next_line(kind, time=WHEN, key=KEY, content=content, fields=fields)
    trail.add(line)
    return line


@given(given_at=st.sets(st.integers(2, 12), min_size=1), entry=st.integers(2, 12))
def test_named_entries_are_those_since_the_last_head_that_holds(given_at: set[int], entry: int) -> None:
    trail = Trail()
    lines = [add_entry(trail) for _ in range(12)]
    heads = [trail.heads[size - 1].content for size in given_at]
    trail.check_against(heads, holder="somebody")
    forged = Trail(rewritten(lines, KEY, change_content(entry)))
    if entry > max(given_at):
        forged.check_against(heads, holder="somebody")  # nobody was told of it yet
        return
    last = min(size for size in given_at if size >= entry)
    first = max((size for size in given_at if size < entry), default=0) + 1
    named = f"entry {last}: is not" if first == last else f"entries {first} to {last}: one of them: is not"
    with pytest.raises(TrustError, match=f"^{named}"):
        forged.check_against(heads, holder="somebody")


# While they run: each head is checked as it comes.


def extension_of(size: int, *, known: int) -> Extension:
    trail = Trail()
    for _ in range(size):
        add_entry(trail)
    return trail.extension(known)


@given(st.data())
def test_every_later_head_extends_every_earlier_one(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 20))
    known = data.draw(st.integers(1, size))
    held = extension_of(known, known=0).head
    check_consistency(extension_of(size, known=known), held=held, key=KEY.public)


def with_content(extension: Extension, key: SigningKey, **changes: Any) -> Extension:
    """The head changed, and signed."""
    return replace(extension, head=SignedHead.sign(replace(extension.head.content, **changes), key))


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (lambda e: with_content(e, STRANGER), "the signature of a log head does not hold"),
        (lambda e: replace(e, head=replace(e.head, signature=b"")), "the signature of a log head does not hold"),
        (lambda e: replace(e, head=replace(e.head, content=replace(e.head.content, size=9))), "the signature"),
        (lambda e: with_content(e, KEY, log="0" * 64), "of another log than the one that is held"),
        (lambda e: with_content(e, KEY, root="0" * 64), "one of the entries up to 5 was rewritten"),
        (lambda e: with_content(e, KEY, size=9), "one of the entries up to 5 was rewritten"),
        (lambda e: replace(e, proof=e.proof[1:]), "one of the entries up to 5 was rewritten"),
        (lambda e: replace(e, proof=(*e.proof, b"")), "one of the entries up to 5 was rewritten"),
        (lambda e: replace(e, known=4), "the proof begins at entry 4, and what is held ends at 5"),
        (lambda _: replace(extension_of(4, known=4), known=5), "entry 5 is missing: the head is of 4 entries, 5 are"),
        (lambda _: with_content(extension_of(5, known=5), KEY, root="0" * 64), "two heads of 5 entries"),
        (lambda _: with_content(extension_of(5, known=5), KEY, digest="0" * 64), "two heads of 5 entries"),
    ],
)
def test_head_that_extends_nothing_is_refused(change: Callable[[Extension], Extension], refusal: str) -> None:
    held, extension = extension_of(5, known=0).head, extension_of(8, known=5)
    check_consistency(extension, held=held, key=KEY.public)
    with pytest.raises(TrustError, match=refusal):
        check_consistency(change(extension), held=held, key=KEY.public)


def test_refused_head_is_not_noted(sides: tuple[Side, Side]) -> None:
    server, north = sides
    forge(server, change_content(5))
    with server.open() as centre, north.open() as hospital:
        before = north.file.read_bytes()
        with pytest.raises(TrustError, match="the head of server: one of the entries up to 9 was rewritten"):
            hospital.receive(centre.extension_for(known=9), counterpart=server.counterpart)
        assert north.file.read_bytes() == before


def test_replayed_head_is_refused_and_the_same_one_is_noted_once(sides: tuple[Side, Side]) -> None:
    server, north = sides
    with server.open() as centre, north.open() as hospital:
        old = centre.extension_for(known=9)
        exchange(centre, hospital)
        with pytest.raises(TrustError, match="the proof begins at entry 9, and what is held ends at 10"):
            hospital.receive(old, counterpart=server.counterpart)
        size = len(hospital.trail)
        known = hospital.trail.held(server.counterpart)
        assert known is not None
        centre_again = Extension(head=known, known=known.content.size, proof=())
        hospital.receive(centre_again, counterpart=server.counterpart)
        assert len(hospital.trail) == size


def test_owner_with_an_older_copy_of_its_log_is_told(sides: tuple[Side, Side]) -> None:
    """A backup that was put back, given head and all, does not grow into a second past."""
    server, _ = sides
    server.write(server.lines[:7])
    (server.folder / GIVEN_HEAD_FILE).unlink()
    with server.open() as centre, pytest.raises(TrustError, match=r"entry 8: is missing; .* an older copy was put"):
        centre.extension_for(known=9)


def test_new_key_is_a_new_counterpart(sides: tuple[Side, Side], tmp_path: Path) -> None:
    server, north = sides
    successor = Side(
        name="server", folder=tmp_path / "server-2", key=SigningKey.create(tmp_path / "keys" / "second.pem")
    )
    play(successor, north, rounds=1)
    raise_first(evidence_of(server, successor, north).findings)
    assert len(read_log(north.folder).trail.received) == 2


def test_log_that_begins_anew_under_the_same_key_is_refused(sides: tuple[Side, Side], tmp_path: Path) -> None:
    server, north = sides
    again = replace(server, folder=tmp_path / "again")
    with again.open() as centre, north.open() as hospital:
        for number in range(12):
            admit(centre, number)
        with pytest.raises(TrustError, match="of another log than the one that is held; its owner began anew"):
            hospital.receive(centre.extension_for(known=9), counterpart=server.counterpart)
    assert "entries 1 to 3: one of them: is not what" in refusal_of(again, north)


def test_log_that_notes_a_head_that_extends_nothing_does_not_hold(sides: tuple[Side, Side]) -> None:
    """Its owner alone could write that: the check is the reader's, too."""
    server, north = sides
    trail = Trail(north.lines)
    wrong = extension_of(12, known=9)
    fields = head_fields(server.counterpart, wrong)
    north.write(
        [*north.lines, trail.next_line(Kind.HEAD_RECEIVED, time=WHEN, key=north.key, content=None, fields=fields)]
    )
    with pytest.raises(TrustError, match="entry 8: the head received of server: the signature of a log head"):
        read_log(north.folder)


def test_extension_goes_over_the_wire_as_json() -> None:
    extension = extension_of(7, known=3)
    assert Extension.from_json(json.loads(json.dumps(extension.as_json()))) == extension


@pytest.mark.parametrize(
    "change",
    [
        {"head": None},
        {"head": {}},
        {"known": "3"},
        {"known": True},
        {"proof": None},
        {"proof": ["zz"]},
        {"proof": [1]},
        {"head.size": "7"},
        {"head.size": 0},
        {"head.size": 2**53},
        {"head.size": True},
        {"head.root": "zz" * 32},
        {"head.root": None},
        {"head.digest": ["ab"]},
        {"head.time": "\ud800"},
        {"head.time": "yesterday"},
        {"head.signature": "zz"},
        {"head.more": 1},
    ],
)
def test_malformed_extension_is_refused(change: dict[str, Any]) -> None:
    said = extension_of(7, known=3).as_json()
    for name, value in change.items():
        place, _, inner = name.rpartition(".")
        (said[place] if place else said)[inner] = value
    with pytest.raises(TrustError, match="not of its form"):
        Extension.from_json(said)


def test_folder_without_a_log_is_named(tmp_path: Path, sides: tuple[Side, Side]) -> None:
    with pytest.raises(ConfigError, match=r"nowhere/log\.jsonl: no such file"):
        audit_logs([sides[0].folder, tmp_path / "nowhere"])


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"previous": "0" * 64}, "it does not follow the entry before it"),
        ({"number": 4}, "it does not follow the entry before it"),
        ({"number": 2}, "it does not follow the entry before it"),
        ({"root": b"\0" * 32}, "its root is not that of the entries up to it"),
        ({}, None),
    ],
)
def test_owner_cannot_sign_an_entry_that_does_not_fit(change: dict[str, Any], refusal: str | None) -> None:
    """Signed with the right key, and everything else about it right."""
    trail = Trail()
    lines = [add_entry(trail) for _ in range(3)]
    right, before = line_from_bytes(lines[2]), Trail(lines[:2])
    entry = replace(right.entry, **{name: value for name, value in change.items() if name != "root"})
    root = change.get("root") or Tree(leaf_hash(e.as_bytes()) for e in (*before, entry)).root
    unsigned = Line(entry=entry, root=root, signature=b"")
    content = replace(trail.head.content, size=entry.number, root=root.hex(), digest=unsigned.digest)
    line = replace(unsigned, signature=SignedHead.sign(content, KEY).signature).as_bytes()
    if refusal is None:
        before.add(line)
        return
    with pytest.raises(TrustError, match=f"entry 3: {refusal}"):
        before.add(line)
    assert len(before) == 2
