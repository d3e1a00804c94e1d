"""Evidence on the way between two sides: whole or refused, bounded, and refused with a reason that names the lie."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import EvidenceError, ReplayedError, TrustError
from common.evidence.audit_log import AuditLog
from common.evidence.exchange import (
    MOST_CHARACTERS,
    MOST_EXTENSIONS,
    Evidence,
    ProvenEntry,
    Released,
    check_releases,
    check_round_opened,
    decode,
    extension_from,
    newer_extension,
    proven_entries,
)
from common.evidence.log_entries import Kind, LogEntry
from common.evidence.log_heads import Extension, HeadContent, SignedHead
from tests.common.evidence.logs import CONTENT, RUN, Side, admit

SITES = ["east", "north"]


@pytest.fixture
def server(tmp_path: Path) -> Side:
    return Side.create(tmp_path, "server")


@pytest.fixture
def north(tmp_path: Path) -> Side:
    return Side.create(tmp_path, "north")


@pytest.fixture
def log(server: Side) -> Iterator[AuditLog]:
    with server.open() as opened:
        for number in range(1, 12):
            opened.append(Kind.ROUND_OPENED, content=CONTENT, run=RUN, round=number, sites=SITES)
        yield opened


def head_of(log: AuditLog, size: int) -> SignedHead:
    return log.trail.heads[size - 1]


def test_evidence_comes_back_as_it_was_sent(log: AuditLog, north: Side) -> None:
    sent = log.show(north.counterpart, known=range(12), entries=(1, 7, 12))
    assert decode(sent.encoded()) == sent
    assert [extension.known for extension in sent.extensions] == list(range(12))
    assert {extension.head for extension in sent.extensions} == {log.trail.head}
    assert [entry.number for entry in proven_entries(sent, log.trail.head)] == [1, 7, 12]


@pytest.mark.parametrize("held", range(1, 12))
def test_extension_is_found_from_whatever_head_is_held(log: AuditLog, north: Side, server: Side, held: int) -> None:
    sent = decode(log.show(north.counterpart, known=(0, held, 5)).encoded())
    for kept in (None, head_of(log, held)):
        found = newer_extension(sent, held=kept, key=server.key.public)
        assert found.known == (held if kept else 0)
        assert found.head == log.trail.head


def test_head_that_is_held_already_is_no_newer_one(log: AuditLog, north: Side, server: Side) -> None:
    sent = log.show(north.counterpart, known=(3, 12))
    with pytest.raises(ReplayedError):
        newer_extension(sent, held=log.trail.head, key=server.key.public)
    assert extension_from(sent, held=log.trail.head, key=server.key.public).head == log.trail.head


def test_head_of_before_is_a_replay(log: AuditLog, north: Side, server: Side) -> None:
    sent = log.show(north.counterpart, known=(3, 7))
    admit(log, 12)
    for check in (newer_extension, extension_from):
        with pytest.raises(ReplayedError):
            check(sent, held=log.trail.head, key=server.key.public)


@pytest.mark.parametrize("change", ["no extension", "from another size", "another key", "proof of another size"])
def test_head_that_does_not_extend_is_refused(log: AuditLog, north: Side, server: Side, change: str) -> None:
    sent = log.show(north.counterpart, known=(3, 7))
    key = north.key.public if change == "another key" else server.key.public
    changed = {
        "no extension": replace(sent, extensions=()),
        "from another size": replace(sent, extensions=sent.extensions[:1]),
        "another key": sent,
        "proof of another size": replace(sent, extensions=(replace(sent.extensions[0], known=7),)),
    }[change]
    with pytest.raises(EvidenceError) as caught:
        newer_extension(changed, held=head_of(log, 7), key=key)
    assert caught.value.reason == "evidence"


def test_forked_head_of_the_same_size_is_no_replay(log: AuditLog, server: Side) -> None:
    content = replace(log.trail.head.content, root="ee" * 32)
    forged = SignedHead.sign(content, server.key)
    sent = Evidence(held=0, extensions=(Extension(head=forged, known=12, proof=()),))
    with pytest.raises(EvidenceError, match="rewritten") as caught:
        newer_extension(sent, held=log.trail.head, key=server.key.public)
    assert caught.value.reason == "evidence"


def test_first_head_with_a_proof_is_refused(log: AuditLog, server: Side) -> None:
    """It proves nothing, and could not be noted: whoever sent it would stop the receiver's log."""
    for proof in ((b"\0",), (b"\0" * 32,)):
        sent = Evidence(held=0, extensions=(Extension(head=log.trail.head, known=0, proof=proof),))
        with pytest.raises(EvidenceError, match="nothing that it could extend"):
            extension_from(sent, held=None, key=server.key.public)


def test_head_whose_time_no_entry_can_hold_is_refused() -> None:
    with pytest.raises(TrustError, match="not of its form"):
        HeadContent(log="ab" * 32, size=4, root="ab" * 32, digest="ab" * 32, time="-1")


def test_every_changed_entry_or_proof_is_refused(log: AuditLog, north: Side) -> None:
    sent = log.show(north.counterpart, known=(0,), entries=(7,))
    (proven,) = sent.entries
    others = [
        ProvenEntry(replace(proven.entry, content="ee" * 32), proven.proof),
        ProvenEntry(replace(proven.entry, number=8), proven.proof),
        ProvenEntry(replace(proven.entry, number=2**40), proven.proof),
        ProvenEntry(replace(proven.entry, number=0), proven.proof),
        ProvenEntry(proven.entry, proven.proof[:-1]),
        ProvenEntry(proven.entry, (*proven.proof, b"\0" * 32)),
        ProvenEntry(proven.entry, (b"\0", *proven.proof[1:])),
    ]
    for other in others:
        with pytest.raises(EvidenceError, match="is not in its sender's log"):
            proven_entries(replace(sent, entries=(other,)), log.trail.head)


def opened(**changes: Any) -> tuple[LogEntry, ...]:
    fields = {"run": RUN, "round": 3, "sites": SITES} | changes
    return (LogEntry(number=5, time="2026", previous=CONTENT, kind=Kind.ROUND_OPENED, content=CONTENT, fields=fields),)


def test_task_needs_the_one_entry_that_opened_its_round() -> None:
    said: dict[str, Any] = {"run": RUN, "round_number": 3, "site": "north", "model": CONTENT}
    check_round_opened(opened(), **said)
    wrong: list[tuple[tuple[LogEntry, ...], dict[str, Any]]] = [
        ((), said),
        (opened() * 2, said),
        (released_entries()[:1], said),
        (opened(round=4), said),
        (opened(run="ee" * 32), said),
        (opened(sites=["east"]), said),
        (opened(sites=[]), said),
        (opened(), said | {"model": "ee" * 32}),
        (opened(), said | {"site": "nort"}),
    ]
    for entries, options in wrong:
        with pytest.raises(EvidenceError):
            check_round_opened(entries, **options)


RELEASED = (
    Released(release="site", mechanism="public", ledger_entry=None, content="aa" * 32),
    Released(release="update", mechanism="patient_dp_sgd", ledger_entry="bb" * 32, content="cc" * 32),
)


def released_entries(*records: Released, run: str = RUN, round_number: int = 3) -> tuple[LogEntry, ...]:
    return tuple(
        LogEntry(
            number=at,
            time="2026",
            previous=CONTENT,
            kind=Kind.RELEASE,
            content=record.content,
            fields={
                "run": run,
                "round": round_number,
                "release": record.release,
                "mechanism": record.mechanism,
                "ledger_entry": record.ledger_entry,
            },
        )
        for at, record in enumerate(records or RELEASED, start=1)
    )


def test_reply_needs_an_entry_of_each_record_and_no_other() -> None:
    check_releases(released_entries(), RELEASED, run=RUN, round_number=3)
    check_releases(released_entries()[::-1], RELEASED, run=RUN, round_number=3)
    site, update = RELEASED
    wrong = [
        released_entries(site),
        released_entries(site, update, update),
        released_entries(site, site),
        released_entries(site, replace(update, content="ee" * 32)),
        released_entries(site, replace(update, ledger_entry=None)),
        released_entries(site, replace(update, mechanism="not_private")),
        released_entries(site, replace(update, release="statistics")),
        released_entries(run="ee" * 32),
        released_entries(round_number=2),
        (*released_entries(), *opened()),
        (),
    ]
    for entries in wrong:
        with pytest.raises(EvidenceError):
            check_releases(entries, RELEASED, run=RUN, round_number=3)


def test_what_is_decoded_is_bounded(log: AuditLog, north: Side) -> None:
    sent = log.show(north.counterpart, known=(0,), entries=(1,))
    with pytest.raises(EvidenceError, match="longer"):
        decode(" " * (MOST_CHARACTERS + 1))
    with pytest.raises(EvidenceError, match="more extensions"):
        replace(sent, extensions=sent.extensions * (MOST_EXTENSIONS + 1))
    with pytest.raises(EvidenceError, match="more extensions or entries"):
        replace(sent, entries=sent.entries * 9)
    other = replace(sent.extensions[0].head, signature=b"")
    with pytest.raises(EvidenceError, match="more heads than one"):
        replace(sent, extensions=(sent.extensions[0], replace(sent.extensions[0], head=other)))


def test_most_that_is_sent_fits_the_bound(server: Side) -> None:
    """64 extensions of a log of 2**40 entries: a proof of each has 41 hashes at most."""
    content = HeadContent(log="ab" * 32, size=2**40, root="ab" * 32, digest="ab" * 32, time="2" * 29)
    head = SignedHead.sign(content, server.key)
    extension = Extension(head=head, known=2**40 - 1, proof=(b"\0" * 32,) * 41)
    entry = ProvenEntry(opened(sites=[f"hospital-number-{at}" for at in range(100)])[0], (b"\0" * 32,) * 41)
    evidence = Evidence(held=2**40, extensions=(extension,) * MOST_EXTENSIONS, entries=(entry,) * 8)
    assert decode(evidence.encoded()) == evidence


TEXT = Evidence(
    held=3,
    extensions=(
        Extension(
            head=SignedHead(
                content=HeadContent(log="ab" * 32, size=4, root="ab" * 32, digest="ab" * 32, time="2026"),
                signature=b"\1" * 64,
            ),
            known=2,
            proof=(b"\0" * 32,),
        ),
    ),
    entries=(ProvenEntry(opened()[0], (b"\0" * 32,)),),
).encoded()

HOSTILE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(value=HOSTILE)
def test_anything_else_is_refused_by_its_reason(value: Any) -> None:
    with pytest.raises(EvidenceError):
        decode(json.dumps(value))


@given(data=st.data(), value=HOSTILE)
def test_evidence_with_one_part_changed_is_read_or_refused(data: st.DataObject, value: Any) -> None:
    said = json.loads(TEXT)
    inner, place = said, data.draw(st.sampled_from(sorted(said)))
    while isinstance(inner[place], dict | list) and inner[place] and data.draw(st.booleans()):
        inner = inner[place]
        place = data.draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner))))
    inner[place] = value
    try:
        decode(json.dumps(said))
    except EvidenceError as error:
        assert error.reason == "evidence"


def test_text_that_is_no_json_is_refused() -> None:
    for text in ("", "{", "[" * 100_000, '{"held": NaN}', "\ud800"):
        with pytest.raises(EvidenceError):
            decode(text)
