"""One signed run for all tests of a process, copied for each that changes it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.simulations.audits.promises.signed_run import SignedRun, write_signed_run


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> SignedRun:
    """The run as it was written; nobody changes it."""
    return write_signed_run(tmp_path_factory.mktemp("signed"))


@pytest.fixture
def signed(whole: SignedRun, tmp_path: Path) -> SignedRun:
    """A copy, to be changed."""
    shutil.copytree(whole.folder, tmp_path / "signed")
    return SignedRun(tmp_path / "signed")
