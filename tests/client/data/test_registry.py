"""The adapters by name: each entry loads and has the factory's signature."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from client.data.registry import ADAPTERS, AdapterFactory
from common.errors import ConfigError, DataError

LAYOUTS = ["chexpert", "dicom", "manifest", "medpix2", "mimic_cxr", "nih_cxr14", "open_i", "padchest"]


def test_adapters_are_the_layouts() -> None:
    assert ADAPTERS.names == LAYOUTS


@pytest.mark.parametrize("name", LAYOUTS)
def test_adapters_share_one_signature_and_touch_no_disk_before_studies(name: str, tmp_path: Path) -> None:
    factory = ADAPTERS.load(name)
    expected = list(inspect.signature(AdapterFactory.__call__).parameters.values())[1:]
    assert list(inspect.signature(factory).parameters.values()) == expected
    adapter = factory(tmp_path / "nowhere", allow_burned_in=False)
    with pytest.raises(DataError, match=r"cannot be read.*set data\.root"):
        next(adapter.studies())


def test_adapters_unknown_name_gives_the_near_one() -> None:
    with pytest.raises(ConfigError, match=r"data\.adapter=dicon: unknown; did you mean dicom\?"):
        ADAPTERS.load("dicon")
