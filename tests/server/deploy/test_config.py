"""consortium.yaml: the example, what init writes, and the one line that each mistake gets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.errors import ConfigError
from server.deploy.config import (
    RANGES,
    ConsortiumConfig,
    Validity,
    check_consortium_config,
    consortium_yaml,
    read_consortium_config,
)

EXAMPLE = Path(__file__).resolve().parents[3] / "configs" / "consortium.example.yaml"


@pytest.fixture
def content() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    return found


def test_example_is_what_init_writes() -> None:
    assert consortium_yaml(read_consortium_config(EXAMPLE)) == EXAMPLE.read_text(encoding="utf-8")


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    config = replace(
        read_consortium_config(EXAMPLE),
        hosts=["2001:db8::1", "localhost"],
        port=1,
        control_port=65535,
        metrics_port=0,
        health_port=0,
        search_port=9,
        search_seconds=2.5,
        validity=Validity(root_days=1, server_days=2, crossover_days=3, request_days=4),
    )
    (tmp_path / "consortium.yaml").write_text(consortium_yaml(config), encoding="utf-8")
    assert read_consortium_config(tmp_path / "consortium.yaml") == config


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("nme", "x", "nme: unknown key; did you mean name"),
        ("name", "North Sea", "name=North Sea: not a name; use up to 63"),
        ("hosts", [], "hosts: is empty or names one twice"),
        ("hosts", ["a.org", "a.org"], "hosts: is empty or names one twice"),
        ("hosts", ["https://a.org"], "hosts: https://a.org is no host; use a name such as"),
        ("port", 0, "port=0: out of range; give a value from 1 to 65535"),
        ("control_port", 8443, "control_port=8443: is the port of the sites"),
        ("metrics_port", 8443, "metrics_port=8443: is the port of the sites"),
        ("metrics_port", 8000, "metrics_port=8000: is control_port; give another"),
        ("health_port", 9464, "health_port=9464: is metrics_port; give another"),
        ("health_port", -1, "health_port=-1: out of range; give a value from 0"),
        ("signing_key", "00", "signing_key: is no Ed25519 key; restore"),
        ("validity", {"root_days": 0}, r"validity\.root_days=0: out of range"),
        ("validity", {"root_day": 5}, r"validity\.root_day: unknown key; did you mean validity\.root_days"),
    ],
)
def test_mistake_is_one_line_with_the_file(
    tmp_path: Path, content: dict[str, Any], key: str, value: object, said: str
) -> None:
    path = tmp_path / "consortium.yaml"
    path.write_text(yaml.safe_dump({**content, key: value}), encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"consortium\.yaml: {said}"):
        read_consortium_config(path)


def test_missing_file_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--config FILE"):
        read_consortium_config(tmp_path / "none.yaml")


@pytest.mark.parametrize("key", RANGES)
def test_every_number_has_a_range_that_holds(key: str) -> None:
    config = read_consortium_config(EXAMPLE)
    name = key.removeprefix("validity.")
    for value in (RANGES[key][0] - 1, RANGES[key][1] + 1):
        changed = (
            replace(config, validity=replace(config.validity, **{name: value}))
            if name != key
            else replace(config, **{name: value})
        )
        with pytest.raises(ConfigError, match=f"{key}={value}"):
            check_consortium_config(changed)


def test_every_number_is_in_the_ranges() -> None:
    numbers = {name for name, kind in ConsortiumConfig.__annotations__.items() if kind in ("int", "float")}
    assert set(RANGES) == numbers | {f"validity.{name}" for name in Validity.__annotations__}
