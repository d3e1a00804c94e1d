"""A registry loads what a name stands for, and names the near ones."""

from __future__ import annotations

import math
import sys
from importlib import import_module

import pytest

from common.config.registry import Registry, near
from common.encoders.registry import ENCODERS
from common.errors import ConfigError
from common.losses.interface import LOSSES

NUMBERS: Registry[float] = Registry("number.name", {"pi": "math:pi", "tau": "math:tau"})


def test_registry_loads_the_attribute() -> None:
    assert NUMBERS.load("pi") == math.pi
    assert NUMBERS.names == ["pi", "tau"]


def test_registry_unknown_name_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"^number\.name=taw: unknown; did you mean tau\?$"):
        NUMBERS.load("taw")


def test_registry_imports_only_what_is_asked_for() -> None:
    registry: Registry[object] = Registry("x.name", {"unused": "colorsys:rgb_to_hsv", "used": "math:e"})
    sys.modules.pop("colorsys", None)
    registry.load("used")
    assert "colorsys" not in sys.modules


@pytest.mark.parametrize("registry", [ENCODERS, LOSSES])
def test_every_entry_points_at_something(registry: Registry[object]) -> None:
    for entry in registry._entries.values():
        module, _, attribute = entry.partition(":")
        assert callable(getattr(import_module(module), attribute))


def test_near_names_all_when_they_are_few_and_none_is_near() -> None:
    assert near("zzz", ["mean", "krum"]) == "known: krum, mean"


def test_near_points_to_the_base_config_when_they_are_many() -> None:
    assert near("zzz", [f"key{n}" for n in range(50)]) == "configs/base.yaml lists them all"
