"""A consortium in a folder, and a site that asks to join it."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.deploy.init import create_consortium
from server.deploy.installation import Installation
from tests.server.deploy.joining import NOW, Asking


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return create_consortium(tmp_path / "server", name="north-sea", hosts=["localhost", "127.0.0.1"], now=NOW)


@pytest.fixture
def config_file(installation: Installation) -> Path:
    return installation.folder / "consortium.yaml"


@pytest.fixture
def site(tmp_path: Path) -> Asking:
    return Asking.new(tmp_path / "site")


@pytest.fixture
def other(tmp_path: Path) -> Asking:
    return Asking.new(tmp_path / "other")
