"""A node is the member whose key it proves: a revoked one, a stranger and a broken key are nobody."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key
from flwr.serverapp import Grid

from server.deploy.config import CONFIG_FILE
from server.deploy.init import create_consortium
from server.deploy.installation import Installation, read_installation
from server.deploy.membership import revoke
from server.deploy.registered import SitesByNode
from tests.server.deploy.joining import Asking, admitted

NOW = datetime.now(UTC)


def grid_of(*keys: bytes) -> Grid:
    """A grid with these nodes online, numbered from 7."""
    nodes = [SimpleNamespace(node_id=number, public_key=key) for number, key in enumerate(keys, 7)]
    return cast("Grid", SimpleNamespace(get_nodes=lambda: nodes))


def pem(key: Any) -> bytes:
    return bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return create_consortium(tmp_path / "server", name="north-sea", hosts=["localhost"], now=NOW)


@pytest.fixture
def member_key(installation: Installation, tmp_path: Path) -> bytes:
    """The node key of a member named hospital-1, as Flower tells it."""
    (folder := tmp_path / "hospital").mkdir()
    site = Asking.new(folder)
    admitted(installation, site.request(installation, now=NOW), now=NOW)
    return pem(load_ssh_public_key(site.node_key.public.openssh.encode()))


def test_node_is_the_member_of_its_key_and_strangers_are_nobody(installation: Installation, member_key: bytes) -> None:
    stranger = pem(ec.generate_private_key(ec.SECP384R1()).public_key())
    sites = SitesByNode(grid_of(stranger, member_key, b"no key"), installation)
    assert sites() == {8: "hospital-1"}


def test_member_that_is_revoked_during_a_run_is_nobody_from_then_on(
    installation: Installation, member_key: bytes
) -> None:
    sites = SitesByNode(grid_of(member_key), read_installation(installation.folder / CONFIG_FILE))
    assert sites() == {7: "hospital-1"}
    revoke(installation.folder / CONFIG_FILE, "hospital-1", reason="study ended", now=NOW)
    assert sites() == {}
