"""A request to join: two proofs over all of it, and every change is found out."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from common.errors import TrustError
from common.trust.envelope import written
from common.trust.keys import SigningKey
from common.trust.node_key import NodeKey
from common.trust.request import JoinRequest, read_request, write_request
from tests.common.trust.pki import NOW


class Site:
    """A site's keys, and its request."""

    def __init__(self, folder: Path, consortium: SigningKey) -> None:
        self.signing_key, self.node_key = SigningKey.create(folder / "key.pem"), NodeKey.create(folder / "node")
        self._consortium = consortium

    def request(self, name: str = "hospital-1", *, node_key: NodeKey | None = None) -> bytes:
        """A request that this site signs."""
        return write_request(
            consortium=self._consortium.public,
            site=name,
            signing_key=self.signing_key,
            node_key=node_key or self.node_key,
            now=NOW,
        )


@pytest.fixture
def consortium(tmp_path: Path) -> SigningKey:
    return SigningKey.create(tmp_path / "server.pem")


@pytest.fixture
def site(tmp_path: Path, consortium: SigningKey) -> Site:
    return Site(tmp_path / "one", consortium)


@pytest.fixture
def other(tmp_path: Path, consortium: SigningKey) -> Site:
    return Site(tmp_path / "two", consortium)


def test_request_says_who_asks_whom_with_which_keys(site: Site, consortium: SigningKey) -> None:
    request = read_request(site.request())
    assert (request.site, request.consortium) == ("hospital-1", consortium.public.hex)
    assert request.public_key == site.signing_key.public
    assert request.node_public_key == site.node_key.public


def test_request_holds_no_private_key(tmp_path: Path, site: Site) -> None:
    content = site.request().decode()
    for name in ("key.pem", "node"):
        for line in (tmp_path / "one" / name).read_text().splitlines()[1:-1]:
            assert line not in content
    assert "PRIVATE" not in content


@pytest.mark.parametrize(
    "change",
    [
        lambda body, _: body.update(site="hospital-2"),
        lambda body, _: body.update(created="2026-11-25T12:00:00+00:00"),
        lambda body, other: body.update(signing_key=other["signing_key"]),
        lambda body, other: body.update(node_key=other["node_key"]),
        lambda body, other: body.update(consortium=other["signing_key"]),
    ],
    ids=["name", "time", "signing key", "node key", "consortium"],
)
def test_altered_request_is_refused(site: Site, other: Site, change: Callable[[Any, Any], None]) -> None:
    whole = json.loads(site.request())
    change(whole["body"], json.loads(other.request())["body"])
    with pytest.raises(TrustError, match="does not hold"):
        read_request(json.dumps(whole).encode())


@pytest.mark.parametrize("proof", ["ed25519", "ecdsa-p384"])
def test_each_proof_must_be_of_this_request(site: Site, proof: str) -> None:
    """Signatures of a request under another name do not pass for this one, whichever is put in."""
    mine, replayed = json.loads(site.request()), json.loads(site.request("hospital-2"))
    mine["signatures"][proof] = replayed["signatures"][proof]
    with pytest.raises(TrustError, match="does not hold"):
        read_request(json.dumps(mine).encode())
    del mine["signatures"][proof]
    with pytest.raises(TrustError, match="each of its keys"):
        read_request(json.dumps(mine).encode())


def test_key_that_the_site_does_not_hold_cannot_be_asked_for(site: Site, other: Site) -> None:
    honest = json.loads(other.request())
    stolen = JoinRequest(**{**json.loads(site.request())["body"], "node_key": honest["body"]["node_key"]})
    forged = written(stolen, {name: bytes.fromhex(text) for name, text in honest["signatures"].items()})
    with pytest.raises(TrustError, match="does not hold"):
        read_request(forged)


@pytest.mark.parametrize("name", ["", "Hospital", "../x", "a\x1b[2J"])
def test_name_that_is_not_plain_is_refused_and_not_repeated(site: Site, name: str) -> None:
    with pytest.raises(TrustError, match="a name that is none") as refused:
        site.request(name)
    assert not name or name not in str(refused.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("signing_key", "00"),
        ("node_key", "ssh-ed25519 AAAA"),
        ("created", "yesterday"),
        ("consortium", ""),
        ("site", "A"),
    ],
)
def test_request_with_a_value_that_cannot_be_is_refused(site: Site, field: str, value: str) -> None:
    whole = json.loads(site.request())
    whole["body"][field] = value
    with pytest.raises(TrustError):
        read_request(json.dumps(whole).encode())


def test_keys_in_upper_case_are_not_other_keys(site: Site) -> None:
    whole = json.loads(site.request())
    whole["body"]["signing_key"] = whole["body"]["signing_key"].upper()
    with pytest.raises(TrustError, match="lower case"):
        read_request(json.dumps(whole).encode())


def test_digest_covers_every_field(site: Site, other: Site) -> None:
    assert read_request(site.request()).digest == read_request(site.request()).digest
    digests = {
        read_request(content).digest
        for content in (
            site.request(),
            site.request("hospital-2"),
            other.request(),
            site.request(node_key=other.node_key),
        )
    }
    assert len(digests) == 4


def test_request_grows_old(site: Site) -> None:
    age = read_request(site.request()).expiry(30)
    age.check(NOW)
    age.check(NOW - timedelta(minutes=30))
    with pytest.raises(TrustError, match="not valid before"):
        age.check(NOW - timedelta(hours=2))
    with pytest.raises(TrustError, match=r"request of hospital-1 expired.*wardround site init"):
        age.check(NOW + timedelta(days=31))
