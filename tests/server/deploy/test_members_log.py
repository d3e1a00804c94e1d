"""The member list in the server's log: an older one that is put back is found, and so is one that forgot somebody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import TrustError
from common.evidence.audit_log import AuditLog
from common.evidence.log_entries import Kind
from common.files import sha256_hex
from common.trust.keys import SigningKey
from server.deploy.members import Admitted, Entry, Members, Revoked
from server.deploy.members_log import note_members

NOW = "2026-01-01T00:00:00+00:00"


def admitted(site: str, at: int) -> Admitted:
    return Admitted(site=site, signing_key=f"{at:064x}", node_key=f"key {at}", request="ab" * 32, time=NOW)


ENTRIES: tuple[Entry, ...] = (
    admitted("north", 1),
    admitted("south", 2),
    Revoked(site="south", reason="left", time=NOW),
    admitted("east", 3),
)


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey.create(tmp_path / "key.pem")


@pytest.fixture
def log(tmp_path: Path, key: SigningKey) -> Iterator[AuditLog]:
    with AuditLog(tmp_path / "log", owner="centre", key=key) as opened:
        yield opened


def members(*entries: Entry) -> Members:
    return Members("centre", entries)


def versions(log: AuditLog) -> list[object]:
    return [entry.fields["version"] for entry in log.trail if entry.kind is Kind.MEMBERS]


def test_each_new_list_is_noted_once(log: AuditLog, key: SigningKey) -> None:
    for count in (0, 2, 2, 3, 4, 4):
        note_members(log, members(*ENTRIES[:count]), key)
    assert versions(log) == [0, 2, 3, 4]
    assert log.trail[len(log.trail)].content == sha256_hex(members(*ENTRIES).sealed(key))


@pytest.mark.parametrize(
    "put_back",
    [
        ENTRIES[:2],
        (),
        (*ENTRIES[:2], admitted("east", 3), admitted("west", 4)),
        (*ENTRIES[:2], admitted("east", 3)),
    ],
    ids=["before the revocation", "empty", "older, then longer than noted", "older, then as long"],
)
def test_list_that_does_not_go_on_from_the_noted_one_is_refused(
    log: AuditLog, key: SigningKey, put_back: tuple[Entry, ...]
) -> None:
    note_members(log, members(*ENTRIES[:3]), key)
    with pytest.raises(TrustError, match=r"members\.json: has \d entries and does not go on from the 3"):
        note_members(log, members(*put_back), key)
    assert versions(log) == [3]
