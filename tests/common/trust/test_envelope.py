"""Signed files: every change is found out, and nothing but the expected form is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.canonical import canonical_json
from common.errors import TrustError
from common.trust.envelope import body_bytes, body_digest, read_file, read_signed, seal, unseal
from common.trust.keys import SigningKey


@dataclass(frozen=True, kw_only=True)
class One:
    """One kind of part."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Other:
    """Another kind of part."""

    name: str
    count: int


@dataclass(frozen=True, kw_only=True)
class Body:
    """All that a body may hold."""

    text: str
    number: int
    texts: tuple[str, ...]
    inner: One
    parts: tuple[One | Other, ...]


BODY = Body(
    text="naïve", number=3, texts=("a", "b"), inner=One(name="x"), parts=(Other(name="y", count=1), One(name="z"))
)


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey.create(tmp_path / "key.pem")


def test_body_is_read_as_it_was_sealed(key: SigningKey) -> None:
    assert unseal(seal(BODY, key, purpose="test"), Body, key.public, purpose="test") == BODY


def test_signature_is_over_canonical_json(key: SigningKey) -> None:
    """What another tool has to check, without this library."""
    whole = json.loads(seal(BODY, key, purpose="test"))
    key.public.verify(bytes.fromhex(whole["signatures"]["ed25519"]), canonical_json(whole["body"]), purpose="test")
    assert body_bytes(BODY) == canonical_json(whole["body"])


def test_white_space_and_order_of_the_file_do_not_matter(key: SigningKey) -> None:
    whole = json.loads(seal(BODY, key, purpose="test"))
    whole["body"] = dict(reversed(whole["body"].items()))
    assert unseal(json.dumps(whole).encode(), Body, key.public, purpose="test") == BODY


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.update(text="other"),
        lambda body: body.update(number=4),
        lambda body: body.update(texts=["b", "a"]),
        lambda body: body["texts"].append("c"),
        lambda body: body["inner"].update(name="y"),
        lambda body: body["parts"].pop(),
        lambda body: body["parts"][0].pop("count"),
    ],
    ids=["text", "number", "order", "longer", "inner", "shorter", "another kind"],
)
def test_changed_body_is_refused(key: SigningKey, change: Callable[[Any], object]) -> None:
    whole = json.loads(seal(BODY, key, purpose="test"))
    change(whole["body"])
    with pytest.raises(TrustError, match="signature of a test does not hold"):
        unseal(json.dumps(whole).encode(), Body, key.public, purpose="test")


@pytest.mark.parametrize(
    "change",
    [
        lambda whole: whole["body"].update(more=1),
        lambda whole: whole["body"].pop("text"),
        lambda whole: whole["body"].update(number=True),
        lambda whole: whole["body"].update(number=3.0),
        lambda whole: whole["body"].update(text=None),
        lambda whole: whole["body"].update(text="\ud800"),
        lambda whole: whole["body"].update(texts="ab"),
        lambda whole: whole["body"].update(inner=[]),
        lambda whole: whole["body"]["inner"].update(more=1),
        lambda whole: whole["body"]["parts"].append({}),
        lambda whole: whole.pop("body"),
        lambda whole: whole.pop("signatures"),
        lambda whole: whole.update(more=1),
        lambda whole: whole.update(signatures=[]),
        lambda whole: whole.update(signatures={}),
        lambda whole: whole["signatures"].update(more="00"),
        lambda whole: whole["signatures"].update(ed25519="zz"),
        lambda whole: whole["signatures"].update(ed25519=1),
    ],
)
def test_file_of_another_form_is_refused(key: SigningKey, change: Callable[[Any], object]) -> None:
    whole = json.loads(seal(BODY, key, purpose="test"))
    change(whole)
    with pytest.raises(TrustError):
        unseal(json.dumps(whole).encode(), Body, key.public, purpose="test")


@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_refused_in_one_way(content: bytes) -> None:
    with pytest.raises(TrustError):
        read_signed(content, Body)


@pytest.mark.parametrize("content", [b"[" * 100_000, b"1" * 100_000, b"null", b"[]", b'"x"', b"NaN"])
def test_hostile_json_is_refused(content: bytes) -> None:
    with pytest.raises(TrustError):
        read_signed(content, Body)


def test_file_of_another_key_or_purpose_is_refused(tmp_path: Path, key: SigningKey) -> None:
    content = seal(BODY, key, purpose="test")
    for other, purpose in ((SigningKey.create(tmp_path / "other.pem"), "test"), (key, "another")):
        with pytest.raises(TrustError, match="does not hold"):
            unseal(content, Body, other.public, purpose=purpose)


def test_digest_changes_with_the_body() -> None:
    assert body_digest(One(name="a")) != body_digest(One(name="b"))


def test_file_without_end_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.trust.envelope.MOST_BYTES", 10)
    (tmp_path / "file").write_bytes(b"x" * 10)
    assert read_file(tmp_path / "file") == b"x" * 10
    (tmp_path / "file").write_bytes(b"x" * 11)
    with pytest.raises(TrustError, match="file: is larger"):
        read_file(tmp_path / "file")
    with pytest.raises(TrustError, match="none: cannot be read"):
        read_file(tmp_path / "none")
