"""Files that a person fills in: the one line that each mistake gets."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from omegaconf import MISSING

from common.config.strict_file import read_strict
from common.errors import ConfigError


@dataclass(frozen=True)
class Inner:
    """A section."""

    days: int = 7


@dataclass(frozen=True)
class Outer:
    """A file."""

    name: str = MISSING
    hosts: list[str] = MISSING
    validity: Inner = field(default_factory=Inner)


def read(path: Path, text: str) -> Outer:
    path.write_text(text, encoding="utf-8")
    return read_strict(path, Outer, remedy="copy the example")


def test_values_and_defaults_are_read(tmp_path: Path) -> None:
    found = read(tmp_path / "file.yaml", "name: a\nhosts: [b, c]\n")
    assert found == Outer(name="a", hosts=["b", "c"], validity=Inner(days=7))
    assert isinstance(found.validity, Inner)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nam: a", "nam: unknown key; did you mean name"),
        ("validty: {days: 3}", "validty: unknown key; did you mean validity"),
        ("validity: {day: 3}", r"validity\.day: unknown key; did you mean validity\.days"),
        ("name: [a]", "name: wrong type; it takes text"),
        ("name: null", "name: wrong type; it takes text"),
        ("hosts: a", r"hosts: wrong type; it takes a list of texts, such as \[a, b\]"),
        ("validity: {days: soon}", r"validity\.days: wrong type; it takes a whole number"),
        ("validity: {days: 1.5}", r"validity\.days: wrong type"),
        ("validity: 3", "validity: wrong type; it takes keys below it"),
        ("name: a", "hosts: has no value; it takes a list of texts"),
        ("name: ${x}", r"\$\{...\} is not supported"),
        ("name: [a", "is not YAML at line"),
        ("a: b: c", "is not YAML at line 1 .*; correct it"),
        ("[a, b]", "holds no keys; copy the example"),
        ("", "name: has no value"),
    ],
)
def test_mistake_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        read(tmp_path / "file.yaml", text)
    assert "\n" not in str(refused.value)


def test_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read.*; copy the example"):
        read_strict(tmp_path / "none.yaml", Outer, remedy="copy the example")
    (tmp_path / "file.yaml").write_bytes(b"name: \xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_strict(tmp_path / "file.yaml", Outer, remedy="")
