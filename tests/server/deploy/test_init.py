"""A consortium is made whole or not at all, and never over another."""

from __future__ import annotations

import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from common.errors import ConfigError
from common.trust.consortium import read_consortium
from server.deploy.config import Validity
from server.deploy.init import create_consortium
from server.deploy.installation import Installation, read_installation
from tests.common.trust.pki import Authority, handshake
from tests.server.deploy.joining import NOW


def test_consortium_can_be_believed_at_once(installation: Installation, config_file: Path) -> None:
    found = read_installation(config_file)
    found.check(NOW)
    assert found.consortium == installation.consortium
    assert (found.members.version, found.consortium.version) == (0, 1)


def test_private_files_are_their_owners_alone(installation: Installation) -> None:
    folder = installation.folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    private = {path for path in folder.rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()}
    assert {path.name for path in private} >= {"signing_key.pem", "server.pem"}
    assert len(private) == 3, "the root's key is the third"
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in private)


def test_file_for_hospitals_says_what_the_folder_holds(installation: Installation) -> None:
    told = read_consortium((installation.folder / "consortium.json").read_bytes())
    assert told.hosts == ("localhost", "127.0.0.1")
    assert told.signing_key == installation.config.signing_key == installation.signing_key.public.hex
    assert (installation.folder / "consortium.crt").read_text() == told.root.pem


def test_validity_is_as_asked(tmp_path: Path) -> None:
    validity = Validity(root_days=100, server_days=10)
    made = create_consortium(tmp_path / "c", name="a", hosts=["localhost"], now=NOW, validity=validity)
    assert [expiry.end for expiry in made.expiries] == [NOW + timedelta(days=100), NOW + timedelta(days=10)]
    assert made.config.validity == validity


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"name": "North Sea"}, "not a name"),
        ({"hosts": []}, "hosts"),
        ({"hosts": ["a b"]}, "no host"),
        ({"port": 0}, "port"),
    ],
)
def test_value_that_cannot_be_makes_nothing(tmp_path: Path, values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        create_consortium(tmp_path / "c", **{"name": "a", "hosts": ["localhost"], "now": NOW, **values})
    assert list(tmp_path.iterdir()) == []


def test_second_consortium_leaves_the_first_alone(installation: Installation) -> None:
    before = {path: path.read_bytes() for path in installation.folder.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="server: is there already, and its keys are never written over; give a new"):
        create_consortium(installation.folder, name="north-sea", hosts=["localhost"], now=NOW)
    assert {path: path.read_bytes() for path in installation.folder.rglob("*") if path.is_file()} == before


def test_crash_on_the_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("server.deploy.init.publish", crash)
    with pytest.raises(KeyboardInterrupt):
        create_consortium(tmp_path / "c", name="a", hosts=["localhost"], now=NOW)
    assert list(tmp_path.iterdir()) == []


def test_server_is_believed_over_tls_with_the_file_of_roots(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    made = create_consortium(tmp_path / "c", name="a", hosts=["localhost"], now=now)
    assert handshake(made.server_file, (made.folder / "consortium.crt").read_text()) == "hello"
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(made.server_file, Authority.new(now=now).root.pem)
