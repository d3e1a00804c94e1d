"""The checkpoint manifest: signed, whole, and only of files below its folder."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.errors import CheckpointError, TrustError
from common.evidence.log_heads import HeadContent
from common.evidence.manifest import (
    MANIFEST_FILE,
    STATE_FILE,
    FileDigest,
    Manifest,
    OpenSite,
    PrivateSite,
    digest_files,
    read_manifest,
    write_manifest,
)
from common.trust.envelope import seal
from common.trust.keys import SigningKey

KEY, STRANGER = (SigningKey(Ed25519PrivateKey.generate()) for _ in range(2))
DIGEST = "ab" * 32
HEAD = HeadContent(log=DIGEST, size=7, root=DIGEST, digest=DIGEST, time="2026-01-01T00:00:00.000+00:00")
MANIFEST = Manifest(
    run="cd" * 32,
    round_number=3,
    files=(FileDigest(name=STATE_FILE, sha256=DIGEST), FileDigest(name="config.yaml", sha256="cd" * 32)),
    sites=(PrivateSite(name="north", ledger_head=DIGEST, epsilon=2.5, delta=1e-5), OpenSite(name="south")),
    head=HEAD,
)


def test_manifest_is_read_back(tmp_path: Path) -> None:
    write_manifest(tmp_path, MANIFEST, KEY)
    assert read_manifest(tmp_path, KEY.public) == MANIFEST
    write_manifest(tmp_path, replace(MANIFEST, round_number=4), KEY)
    assert read_manifest(tmp_path, KEY.public).round_number == 4
    assert [path.name for path in (tmp_path / "checkpoint").iterdir()] == ["manifest.json"]


def test_manifest_says_unit_and_relation_beside_each_epsilon(tmp_path: Path) -> None:
    write_manifest(tmp_path, MANIFEST, KEY)
    said = json.loads((tmp_path / MANIFEST_FILE).read_bytes())["body"]
    assert said["unit_of_privacy"] == "patient"
    assert said["neighboring_relation"] == "add_or_remove_one"
    assert said["sites"][0] == {"name": "north", "ledger_head": DIGEST, "epsilon": 2.5, "delta": 1e-5}


def every_value(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    return [path] if below is None else [found for name, inner in below for found in every_value(inner, (*path, name))]


def test_every_changed_value_is_refused(tmp_path: Path) -> None:
    write_manifest(tmp_path, MANIFEST, KEY)
    file = tmp_path / MANIFEST_FILE
    original = file.read_bytes()
    paths = every_value(json.loads(original))
    assert len(paths) == 19
    for path in paths:
        said = json.loads(original)
        inner = said
        for name in path[:-1]:
            inner = inner[name]
        old = inner[path[-1]]
        new = old + 1 if isinstance(old, int) else old / 2 if isinstance(old, float) else old[1:] + "0"
        assert new != old
        inner[path[-1]] = new
        file.write_bytes(json.dumps(said).encode())
        with pytest.raises(TrustError, match=r"manifest\.json: "):
            read_manifest(tmp_path, KEY.public)


def test_changed_byte_that_changes_what_is_said_is_refused(tmp_path: Path) -> None:
    write_manifest(tmp_path, MANIFEST, KEY)
    file = tmp_path / MANIFEST_FILE
    original, draw = file.read_bytes(), random.Random(9)  # noqa: S311 - which bytes, and which bit of each
    for place in draw.sample(range(len(original)), 300):
        content = bytearray(original)
        content[place] ^= 1 << draw.randrange(8)
        file.write_bytes(content)
        try:
            found = read_manifest(tmp_path, KEY.public)
        except TrustError:
            continue
        assert found == MANIFEST, "white space, and the signature's upper case, may change"


def test_other_key_or_purpose_is_refused(tmp_path: Path) -> None:
    write_manifest(tmp_path, MANIFEST, STRANGER)
    with pytest.raises(TrustError, match="the signature of a checkpoint manifest does not hold"):
        read_manifest(tmp_path, KEY.public)
    (tmp_path / MANIFEST_FILE).write_bytes(seal(MANIFEST, KEY, purpose="something else"))
    with pytest.raises(TrustError, match="does not hold"):
        read_manifest(tmp_path, KEY.public)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"body":{},"signatures":{}}'], ids=str
)
def test_damaged_manifest_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / MANIFEST_FILE).write_bytes(content)
    with pytest.raises(TrustError, match=r"manifest\.json: "):
        read_manifest(tmp_path, KEY.public)


def test_missing_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrustError, match=r"manifest\.json: cannot be read"):
        read_manifest(tmp_path, KEY.public)


@pytest.mark.parametrize("name", ["/etc/passwd", "../other/state", "checkpoint/../../x", "", ".", "a//b", "./a", "a/"])
def test_file_outside_the_folder_is_refused(name: str) -> None:
    with pytest.raises(TrustError, match="not in the run folder"):
        FileDigest(name=name, sha256=DIGEST)


@pytest.mark.parametrize("digest", ["", "ab", DIGEST.upper(), DIGEST + "00", DIGEST + "\n"])
def test_file_without_a_digest_is_refused(digest: str) -> None:
    with pytest.raises(TrustError, match="no digest of a"):
        FileDigest(name="a", sha256=digest)


@pytest.mark.parametrize(("epsilon", "delta"), [(-1.0, 0.0), (math.inf, 0.0), (math.nan, 0.0), (1.0, 1.0), (1.0, -0.1)])
def test_epsilon_that_is_none_is_refused(epsilon: float, delta: float) -> None:
    with pytest.raises(TrustError, match="no epsilon and delta of north"):
        PrivateSite(name="north", ledger_head=DIGEST, epsilon=epsilon, delta=delta)


def test_manifest_without_the_state_is_refused() -> None:
    with pytest.raises(TrustError, match=r"does not list checkpoint/state\.safetensors"):
        replace(MANIFEST, files=MANIFEST.files[1:])


def test_digests_are_those_of_the_files(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a").write_bytes(b"abc")  # FIPS 180-2, example B.1
    (found,) = digest_files(tmp_path, Path("logs") / "a")
    assert found.name == "logs/a"
    assert found.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_manifest_that_cannot_be_written_is_a_checkpoint_error(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_bytes(b"a file where the folder should be")
    with pytest.raises(CheckpointError, match=r"manifest\.json: cannot be written"):
        write_manifest(tmp_path, MANIFEST, KEY)
