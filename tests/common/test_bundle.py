"""Bundles: one way to write them, every byte counts, and nothing a stranger sends is unpacked without bounds."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from flwr.cli.build import build_fab_from_files

from common.bundle import (
    APP,
    CONFIG,
    MODEL,
    MOST_BYTES,
    START,
    VALIDATION,
    BundleFacts,
    app_files,
    bundle_of,
    read_bundle,
)
from common.bundle import written_bundle as written
from common.config.load import config_as_yaml, config_digest, load_config
from common.errors import TrustError
from common.files import sha256_hex

RUN = load_config(["evaluation.epsilon=1"])
CONFIG_BYTES = config_as_yaml(RUN).encode()
PARTS = {"config": CONFIG_BYTES, "model": b"model" * 40, "start": b"start" * 20, "validation": b"studies" * 9}


def facts(**changes: Any) -> BundleFacts:
    found = BundleFacts(
        run=config_digest(RUN),
        config=sha256_hex(PARTS["config"]),
        model=sha256_hex(PARTS["model"]),
        start=sha256_hex(PARTS["start"]),
        validation=sha256_hex(PARTS["validation"]),
        anchors="a" * 64,
        code="c" * 64,
        versions={"wardround": "0.1.0"},
    )
    return replace(found, **changes)


def app_of(found: BundleFacts) -> bytes:
    return build_fab_from_files(app_files(found))[0]


@pytest.fixture(scope="module")
def content() -> bytes:
    return written(app=app_of(facts()), **PARTS)


def test_bundle_reads_back(content: bytes) -> None:
    found = bundle_of(content)
    assert found.facts == facts()
    assert found.hash == sha256_hex(app_of(facts()))
    assert (found.config, found.config_bytes) == (RUN, CONFIG_BYTES)
    assert (found.model, found.start, found.validation) == (PARTS["model"], PARTS["start"], PARTS["validation"])
    assert (found.run, found.code, found.anchors) == (config_digest(RUN), "c" * 64, "a" * 64)


def test_same_parts_give_the_same_bytes(content: bytes) -> None:
    assert written(app=app_of(facts()), **PARTS) == content


def test_flower_takes_the_app_for_the_same_hash(content: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(bundle_of(content).app)) as app:
        text = app.read("pyproject.toml").decode()
    assert 'serverapp = "server.deploy.run_app:app"' in text
    assert f'run = "{config_digest(RUN)}"' in text


def test_every_flipped_byte_is_refused(content: bytes) -> None:
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        with pytest.raises(TrustError):
            bundle_of(bytes(damaged))


def test_every_length_but_the_whole_is_refused(content: bytes) -> None:
    for length in range(0, len(content), 7):
        with pytest.raises(TrustError):
            bundle_of(content[:length])
    with pytest.raises(TrustError):
        bundle_of(content + b"\0")
    with pytest.raises(TrustError):
        bundle_of(b"\0" + content)


@pytest.mark.parametrize(
    "change",
    [
        lambda parts: {**parts, "model": b"another"},
        lambda parts: {**parts, "start": b"another"},
        lambda parts: {**parts, "validation": b"another"},
        lambda parts: {**parts, "config": config_as_yaml(load_config(["seed=1"])).encode()},
        lambda parts: {**parts, "app": b"no app"},
        lambda parts: {**parts, "app": app_of(facts(run="b" * 64))},
        lambda parts: {**parts, "app": app_of(facts(format=1))},
        lambda parts: {**parts, "app": app_of(facts(anchors="A" * 64))},
        lambda parts: {**parts, "app": app_of(facts(versions={"torch": "2"} | {"wardround": '1"\nx = "'}))},
        lambda parts: {**parts, "app": app_of(facts(versions={"wardround": "0.1.0", "torch": 'a"b'}))},
    ],
)
def test_parts_that_do_not_belong_together_are_refused(
    change: Callable[[dict[str, bytes]], dict[str, bytes]],
) -> None:
    try:
        parts = change({"app": app_of(facts()), **PARTS})
    except ValueError:
        return  # Flower refuses to build it
    with pytest.raises(TrustError):
        bundle_of(written(**parts))


def repacked(**files: bytes | None) -> bytes:
    """An app whose files were changed, added or taken out, with a right list of what it holds."""
    found: dict[str, bytes | None] = {**app_files(facts()), **{name.replace("_", "."): v for name, v in files.items()}}
    kept = {name: value for name, value in found.items() if value is not None}
    listed = [f"{name},{sha256_hex(value)},{8 * len(value)}" for name, value in kept.items()]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, value in kept.items():
            file.writestr(name, value)
        file.writestr(".info/CONTENT", "\n".join(listed))
    return buffer.getvalue()


PROJECT = app_files(facts())["pyproject.toml"]
SAID = asdict(facts())


@pytest.mark.parametrize(
    "app",
    [
        repacked(extra_py=b"import os"),
        repacked(bundle_json=None),
        repacked(pyproject_toml=PROJECT.replace(b"server.deploy.run_app", b"evil.deploy.run_app")),
        repacked(pyproject_toml=PROJECT + b"\n[tool.flwr.app.extra]\nx = 1\n"),
        repacked(pyproject_toml=b"not toml ="),
        repacked(bundle_json=json.dumps(SAID, indent=1).encode()),
        repacked(bundle_json=json.dumps({**SAID, "more": 1}).encode()),
        repacked(bundle_json=b"[" * 60_000),
        repacked(bundle_json=b"null"),
        repacked(bundle_json=b"\0" * 50_000_000),
    ],
)
def test_app_that_says_anything_else_is_refused(app: bytes) -> None:
    with pytest.raises(TrustError, match=r"app\.fab"):
        bundle_of(written(app=app, **PARTS))


def test_repacked_app_without_a_change_is_another_bundle_of_the_same_run() -> None:
    app = repacked()  # once: the archive holds the time at which it was packed
    found = bundle_of(written(app=app, **PARTS))
    assert found.facts == facts()
    assert found.hash == sha256_hex(app)


@pytest.mark.parametrize(
    "text",
    [
        b"a: &a [x]\nb: *a\n",
        b"- 1\n",
        b"seed: [",
        b"\xff",
        b"[" * 60_000,
        b"[" * 200,
        CONFIG_BYTES + b"# more\n",
        CONFIG_BYTES.replace(b"seed: 0", b"sead: 0"),
    ],
)
def test_config_that_is_not_written_as_one_is_refused(text: bytes) -> None:
    parts = {**PARTS, "config": text}
    with pytest.raises(TrustError, match=CONFIG):
        bundle_of(written(app=app_of(facts(config=sha256_hex(text))), **parts))


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, value in members.items():
            file.writestr(name, value)
    return buffer.getvalue()


def members() -> dict[str, bytes]:
    parts = {CONFIG: PARTS["config"], MODEL: PARTS["model"], START: PARTS["start"], VALIDATION: PARTS["validation"]}
    return {APP: app_of(facts()), **parts}


@pytest.mark.parametrize(
    "content",
    [
        zipped({**members(), "more.py": b"1"}),
        zipped({name: value for name, value in members().items() if name != START}),
        zipped(dict(reversed(members().items()))),
        zipped(members(), zipfile.ZIP_DEFLATED),
        zipped({**members(), MODEL: b"\0" * 10_000_000}, zipfile.ZIP_DEFLATED),
        zipped({**members(), CONFIG: b"\0" * (MOST_BYTES[CONFIG] + 1)}),
        zipped(members()),
        b"",
        b"PK\x05\x06" + b"\0" * 18,
    ],
    ids=["extra", "missing", "order", "compressed", "bomb", "large", "dated today", "empty", "no members"],
)
def test_other_archives_are_refused(content: bytes) -> None:
    with pytest.raises(TrustError):
        bundle_of(content)


def test_file_is_named_with_the_remedy(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.bundle"
    path.write_bytes(content)
    assert read_bundle(path) == bundle_of(content)
    path.write_bytes(content[:-1])
    with pytest.raises(TrustError, match=r"^.*run\.bundle: is no bundle.*; ask the coordinating centre"):
        read_bundle(path)
    with pytest.raises(TrustError, match=r"none\.bundle: cannot be read"):
        read_bundle(tmp_path / "none.bundle")


def test_file_that_is_larger_than_any_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.bundle.MOST_BYTES", {APP: 1, CONFIG: 1, MODEL: 1, START: 1, VALIDATION: 1})
    path = tmp_path / "run.bundle"
    path.write_bytes(b"\0" * 5_000)
    with pytest.raises(TrustError, match="larger than a bundle is"):
        read_bundle(path)
