"""A coordinating centre, a site that has asked it for admission, and a hospital with studies and a run's bundle."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.deploy.identity import SiteKeys
from client.deploy.init import create_site
from common.bundle import Bundle, bundle_of
from tests.client.deploy.centre import NOW, Centre
from tests.client.deploy.hospital import Cohort, Hospital


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    return Centre.new(tmp_path / "centre")


@pytest.fixture
def keys(tmp_path: Path, centre: Centre) -> SiteKeys:
    return create_site(
        tmp_path / "state", bundle=centre.bundle, confirmed=centre.consortium.digest, name="hospital-1", now=NOW
    )


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return Cohort.new(tmp_path_factory.mktemp("cohort"))


@pytest.fixture(scope="session")
def content(cohort: Cohort) -> bytes:
    """The file of a bundle."""
    return cohort.bundle()


@pytest.fixture
def bundle(content: bytes) -> Bundle:
    return bundle_of(content)


@pytest.fixture
def hospital(tmp_path: Path, cohort: Cohort) -> Hospital:
    return Hospital.new(tmp_path / "hospital", cohort, cohort.sites[0])
