"""The consortium's file: what hospitals get, and what vouches for a newer one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common.errors import TrustError
from common.trust.consortium import Consortium, read_consortium
from common.trust.keys import SigningKey
from tests.common.trust.pki import Authority

ROOT = Authority.new().root


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey.create(tmp_path / "server.pem")


@pytest.fixture
def consortium(key: SigningKey) -> Consortium:
    return Consortium(
        name="north-sea",
        version=1,
        hosts=("server.example.org", "192.0.2.7"),
        port=8443,
        signing_key=key.public.hex,
        roots=(ROOT.pem,),
    )


def test_consortium_is_read_as_it_was_sealed(consortium: Consortium, key: SigningKey) -> None:
    content = consortium.sealed(key)
    assert read_consortium(content) == read_consortium(content, key=key.public) == consortium
    assert consortium.root == ROOT
    assert b"PRIVATE" not in content


@pytest.mark.parametrize(
    ("hosts", "address"),
    [(("server.example.org", "x"), "server.example.org:8443"), (("2001:db8::1",), "[2001:db8::1]:8443")],
)
def test_address_is_what_sites_dial(consortium: Consortium, hosts: tuple[str, ...], address: str) -> None:
    assert replace(consortium, hosts=hosts).address == address


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.update(name="south-sea"),
        lambda body: body.update(hosts=["evil.example.org"]),
        lambda body: body.update(port=443),
        lambda body: body.update(version=2),
        lambda body: body.update(roots=[Authority.new().root.pem]),
        lambda body: body["roots"].append(Authority.new().root.pem),
    ],
)
def test_changed_file_is_refused(consortium: Consortium, key: SigningKey, change: Callable[[Any], None]) -> None:
    whole = json.loads(consortium.sealed(key))
    change(whole["body"])
    with pytest.raises(TrustError, match="does not hold"):
        read_consortium(json.dumps(whole).encode())


def test_file_of_an_impostor_has_another_digest_and_fails_a_known_key(
    tmp_path: Path, consortium: Consortium, key: SigningKey
) -> None:
    """Whoever signs a file anew with a key of their own is found out by the telephone, or by the key held fast."""
    thief = SigningKey.create(tmp_path / "thief.pem")
    forged = replace(consortium, signing_key=thief.public.hex)
    content = forged.sealed(thief)
    assert read_consortium(content).digest != consortium.digest
    with pytest.raises(TrustError, match="does not hold"):
        read_consortium(content, key=key.public)


@pytest.mark.parametrize(
    "values",
    [
        {"name": "North Sea"},
        {"hosts": ()},
        {"hosts": ("a b",)},
        {"port": 0},
        {"port": 70000},
        {"version": 0},
        {"roots": ()},
        {"roots": ("text",)},
        {"signing_key": "00"},
    ],
)
def test_consortium_that_cannot_be_is_refused(consortium: Consortium, values: dict[str, Any]) -> None:
    with pytest.raises(TrustError):
        replace(consortium, **values)
