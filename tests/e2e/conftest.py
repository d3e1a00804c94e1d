"""What the tests of whole processes share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulations.deployment.loopback import Loopback
from tests.e2e.deployed import joined


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A new folder with a short path: the name of a Unix socket may have 107 bytes, and a site's lies deep in it."""
    with tempfile.TemporaryDirectory(prefix="wardround-") as name:
        yield Path(name)


@pytest.fixture
def loopback(short_folder: Path) -> Loopback:
    """A consortium whose hospitals have joined."""
    return joined(short_folder)
