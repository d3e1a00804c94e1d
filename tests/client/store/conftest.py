"""A hospital of forty patients with public studies beside it, and an encoder that counts what it encodes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from client.policy.site_config import load_site_config
from client.policy.site_schema import SiteConfig
from client.store.store import StudyStore
from common.config.schema import RunConfig

NUM_OWN, NUM_PUBLIC = 70, 5


class CountingEncoder:
    """Features of four numbers; remembers what it was given."""

    keys = None

    def __init__(self) -> None:
        self.images: list[int] = []
        self.reports: list[str] = []

    def image_features(self, images: Sequence[Any]) -> Tensor:
        """The first pixel, four times."""
        self.images += [int(image[0, 0]) for image in images]
        return torch.tensor([[float(image[0, 0])] * 4 for image in images])

    def report_features(self, reports: Sequence[str]) -> Tensor:
        """The length, four times."""
        self.reports += reports
        return torch.tensor([[float(len(report))] * 4 for report in reports])


@pytest.fixture
def encoder() -> CountingEncoder:
    return CountingEncoder()


@pytest.fixture
def site(
    tmp_path: Path,
    site_yaml: dict[str, Any],
    write_site: Callable[[Mapping[str, Any]], Path],
    write_studies: Callable[..., Path],
) -> SiteConfig:
    public = tmp_path / "public"
    shutil.copytree(write_studies(NUM_PUBLIC), public)
    table = public / "manifest.csv"
    table.write_text(table.read_text().replace("sex,age", "sex,age,site").replace("F,40", "F,40,public"))
    write_studies(NUM_OWN)
    return load_site_config(write_site(site_yaml | {"anchors": {"root": "public"}}))


@pytest.fixture
def open_store(
    site: SiteConfig, encoder: CountingEncoder, run_config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], StudyStore]:
    """Opens the store anew, as another process would."""
    monkeypatch.setattr("common.config.registry.Registry.load", _loader(encoder))
    return lambda: StudyStore(site, run_config.encoder, code="0" * 64)


def _loader(encoder: CountingEncoder) -> Callable[..., Any]:
    from common.config.registry import Registry

    real = Registry.load

    def load(self: Any, name: str) -> Any:
        return (lambda _: encoder) if name == "scratch" else real(self, name)

    return load
