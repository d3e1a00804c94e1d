"""A coordinating centre, and a site that has asked it for admission."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.deploy.identity import SiteKeys
from client.deploy.init import create_site
from tests.client.deploy.centre import NOW, Centre


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    return Centre.new(tmp_path / "centre")


@pytest.fixture
def keys(tmp_path: Path, centre: Centre) -> SiteKeys:
    return create_site(
        tmp_path / "state", bundle=centre.bundle, confirmed=centre.consortium.digest, name="hospital-1", now=NOW
    )
