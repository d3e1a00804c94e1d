"""A hospital of twelve patients, some with several studies, and a model whose codes can be computed by hand."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import PIL.Image
import pytest

import wardround
from client.policy.site_config import load_site_config
from client.policy.site_schema import SiteConfig
from client.search.generation import search_folder
from client.search.index import SearchIndex
from client.state_folder import KEY_FILE
from common.hashing.codes import Codes
from common.trust.keys import SigningKey

NUM_PATIENTS = 12
BIT_WIDTH = 64

Run = Callable[..., int]


class StandInModel:
    """Stands in for an exported model: codes from the first pixel and from the text's bytes; counts what it encodes."""

    def __init__(self, digest: str = "a" * 64, bit_width: int = BIT_WIDTH) -> None:
        self.digest, self.bit_width = digest, bit_width
        self.num_images = self.num_texts = 0

    def encode_images(self, images: Sequence[PIL.Image.Image]) -> Codes:
        """From the first pixel of each."""
        self.num_images += len(images)
        return np.stack([self.code(int(np.asarray(image)[0, 0])) for image in images])

    def encode_texts(self, texts: Sequence[str]) -> Codes:
        """From the last number in each."""
        self.num_texts += len(texts)
        return np.stack([self.code(1000 + int(text.split()[-1])) for text in texts])

    def code(self, seed: int) -> Codes:
        """The code of one pixel or text."""
        return np.random.default_rng(seed).integers(0, 256, self.bit_width // 8, np.uint8)


@pytest.fixture
def model() -> StandInModel:
    return StandInModel()


@pytest.fixture
def site(
    site_yaml: dict[str, Any], write_site: Callable[[Mapping[str, Any]], Path], write_studies: Callable[..., Path]
) -> SiteConfig:
    write_studies(
        NUM_PATIENTS, ("second", "p0", "1.png", "report 99", "M", "71"), ("lost", "p1", "none.png", "x", "", "")
    )
    config = load_site_config(write_site(site_yaml))
    SigningKey.create(config.state_folder / KEY_FILE)
    return config


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, model: StandInModel) -> Run:
    """Run the command line in this process; its exit code."""
    stand_in = ModuleType("common.model")
    stand_in.load_model = lambda _: model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "common.model", stand_in)

    def run_with(*arguments: str | Path) -> int:
        monkeypatch.setattr(sys, "argv", ["wardround", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            wardround.main()
        return int(ended.value.code or 0)

    return run_with


@pytest.fixture
def config(site: SiteConfig) -> Path:
    return site.state_folder.parent / "site.yaml"


def opened(site: SiteConfig, model: StandInModel) -> SearchIndex:
    """The hospital's index, open."""
    key = SigningKey.load(site.state_folder / KEY_FILE).public
    return SearchIndex.open(search_folder(site), key=key, model=model.digest, bit_width=model.bit_width)


def bytes_below(folder: Path) -> bytes:
    """Everything in the files of a folder."""
    return b"\n".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
