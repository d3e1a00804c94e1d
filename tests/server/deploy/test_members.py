"""The member list: who may come in, and that no change of it goes unseen."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from common.errors import ConfigError, TrustError
from common.trust.envelope import body_bytes, read_signed, written
from common.trust.keys import SigningKey
from server.deploy.members import Admitted, Members, Revoked, read_members

TIME = "2026-11-24T12:00:00+00:00"


def admitted(site: str, *, signing_key: str | None = None, node_key: str | None = None) -> Admitted:
    line = ec.generate_private_key(ec.SECP384R1()).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return Admitted(
        site=site,
        signing_key=signing_key or f"key of {site}",
        node_key=node_key or line.decode(),
        request="00" * 32,
        time=TIME,
    )


def revoked(site: str, reason: str = "left") -> Revoked:
    return Revoked(site=site, reason=reason, time=TIME)


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey.create(tmp_path / "server.pem")


ONE, TWO = admitted("hospital-1"), admitted("hospital-2")
LIST = Members("north-sea", [ONE, TWO, revoked("hospital-1")])


def test_list_grows_by_entries_and_keeps_the_old_ones() -> None:
    empty = Members("north-sea")
    one = empty.and_(ONE)
    assert (empty.version, one.version, LIST.version) == (0, 1, 3)
    assert one.present == {"hospital-1": ONE}
    assert LIST.present == {"hospital-2": TWO}
    assert LIST.entries[:1] == one.entries


def test_list_is_read_as_it_was_sealed(key: SigningKey) -> None:
    found = read_members(LIST.sealed(key), key=key.public, consortium="north-sea")
    assert (found.entries, found.present) == (LIST.entries, LIST.present)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (admitted("hospital-2", signing_key="new"), "the name is taken"),
        (admitted("hospital-3", node_key=TWO.node_key), "is that of hospital-2, a member"),
        (admitted("hospital-3", signing_key=TWO.signing_key), "is that of hospital-2, a member"),
        (TWO, "is that of hospital-2, a member"),
        (ONE, "was revoked with hospital-1"),
        (admitted("hospital-3", node_key=ONE.node_key), "was revoked with hospital-1"),
        (admitted("hospital-1", signing_key=ONE.signing_key), "was revoked with hospital-1"),
    ],
)
def test_taken_name_and_known_key_are_refused(asked: Admitted, said: str) -> None:
    with pytest.raises(TrustError, match=said):
        LIST.and_(asked)


def test_revoked_site_comes_back_with_new_keys_and_can_be_revoked_again() -> None:
    back = admitted("hospital-1", signing_key="new")
    again = LIST.and_(back)
    assert again.present["hospital-1"] == back
    gone = again.and_(revoked("hospital-1"))
    with pytest.raises(TrustError, match="was revoked"):
        gone.and_(admitted("hospital-4", signing_key="new"))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (revoked("hospital-1", "again"), f"hospital-1: was revoked on {TIME[:10]}.* already .left."),
        (revoked("hospital-3"), "hospital-3: is no member; did you mean hospital-2"),
        (revoked("hospital-2", ""), "--reason"),
        (revoked("hospital-2", " "), "--reason"),
        (revoked("hospital-2", "a\nb"), "--reason"),
        (revoked("hospital-2", "\x1b[2J"), "--reason"),
        (revoked("hospital-2", "x" * 201), "--reason"),
    ],
)
def test_revocation_of_no_member_or_for_no_reason_is_refused(entry: Revoked, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        LIST.and_(entry)


def test_revocation_from_an_empty_list_says_so() -> None:
    with pytest.raises(ConfigError, match="there is none yet"):
        Members("north-sea").and_(revoked("hospital-1"))


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body["entries"].pop(),
        lambda body: (body["entries"].pop(), body.update(version=2)),
        lambda body: body["entries"].pop(0),
        lambda body: body["entries"].reverse(),
        lambda body: body["entries"].append(body["entries"][0]),
        lambda body: body["entries"][1].update(site="hospital-9"),
        lambda body: body["entries"][2].update(reason="other"),
        lambda body: body.update(version=4),
        lambda body: body.update(consortium="other"),
    ],
    ids=["cut", "cut, renumbered", "first", "order", "twice", "name", "reason", "version", "consortium"],
)
def test_tampered_list_is_refused(key: SigningKey, change: Callable[[Any], object]) -> None:
    whole = json.loads(LIST.sealed(key))
    change(whole["body"])
    with pytest.raises(TrustError, match="does not hold"):
        read_members(json.dumps(whole).encode(), key=key.public, consortium="north-sea")


def test_list_of_another_consortium_or_key_is_refused(tmp_path: Path, key: SigningKey) -> None:
    with pytest.raises(TrustError, match="another consortium's"):
        read_members(LIST.sealed(key), key=key.public, consortium="south-sea")
    other = SigningKey.create(tmp_path / "other.pem")
    with pytest.raises(TrustError, match="does not hold"):
        read_members(LIST.sealed(other), key=key.public, consortium="north-sea")


@pytest.mark.parametrize("entries", [[ONE, ONE], [revoked("hospital-1")], [ONE, revoked("hospital-1", "")]])
def test_signed_list_that_breaks_a_rule_is_refused(key: SigningKey, entries: list[Admitted | Revoked]) -> None:
    """A fault of the server's own is found as well."""
    document, _ = read_signed(LIST.sealed(key), _document_kind())
    wrong = type(document)(consortium="north-sea", version=len(entries), entries=tuple(entries))
    content = written(wrong, {"ed25519": key.sign(body_bytes(wrong), purpose="member list")})
    with pytest.raises(TrustError, match=r"key of this request|cannot be"):
        read_members(content, key=key.public, consortium="north-sea")


def _document_kind() -> Any:
    from server.deploy import members

    return members._Document
