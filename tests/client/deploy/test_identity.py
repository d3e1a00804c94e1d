"""A site's folder is believed only as a whole."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from client.deploy.identity import SiteIdentity, SiteKeys, read_identity, read_keys
from client.deploy.init import create_site, join
from common.errors import ConfigError, TrustError
from tests.client.deploy.centre import NOW, Centre


@pytest.fixture
def member(centre: Centre, keys: SiteKeys) -> SiteIdentity:
    return join(keys.folder, centre.answer_to(keys.request), now=NOW)


def test_member_names_the_files_that_flower_needs(member: SiteIdentity) -> None:
    assert member.node_key_file.read_bytes().startswith(b"-----BEGIN OPENSSH PRIVATE KEY-----")
    assert member.roots_file.read_bytes().startswith(b"-----BEGIN CERTIFICATE-----")


@pytest.mark.usefixtures("member")
@pytest.mark.parametrize("name", ["site_key.pem", "node_key"])
def test_key_that_others_can_read_is_refused(keys: SiteKeys, name: str) -> None:
    (keys.folder / name).chmod(0o640)
    with pytest.raises(TrustError, match=f"{name}: others can read.*chmod 600"):
        read_identity(keys.folder, now=NOW)


@pytest.mark.usefixtures("member")
@pytest.mark.parametrize("name", ["site_key.pem", "node_key"])
def test_key_of_another_site_is_refused(tmp_path: Path, centre: Centre, keys: SiteKeys, name: str) -> None:
    other = create_site(tmp_path / "b", bundle=centre.bundle, confirmed=centre.consortium.digest, name="b", now=NOW)
    (keys.folder / name).write_bytes((other.folder / name).read_bytes())
    with pytest.raises(TrustError, match=r"request\.json: is of other keys than lie beside it"):
        read_keys(keys.folder)


@pytest.mark.usefixtures("member")
@pytest.mark.parametrize("name", ["site_key.pem", "node_key", "request.json", "consortium.crt"])
def test_missing_part_is_one_line(keys: SiteKeys, name: str) -> None:
    (keys.folder / name).unlink()
    with pytest.raises(TrustError, match=f"{name}: cannot be read"):
        read_identity(keys.folder, now=NOW)


@pytest.mark.usefixtures("member")
@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("request.json", b"hospital-1", b"hospital-2", r"request\.json: .*does not hold; restore it"),
        ("admission.json", b"8443", b"8444", r"admission\.json: .*does not hold; take it again"),
        ("consortium.crt", b"M", b"N", r"consortium\.crt: holds other roots than the admission"),
    ],
)
def test_tampered_part_is_refused(keys: SiteKeys, name: str, old: bytes, new: bytes, said: str) -> None:
    path = keys.folder / name
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(TrustError, match=said):
        read_identity(keys.folder, now=NOW)


def test_admission_of_a_thief_beside_the_file_of_a_thief_is_refused(
    tmp_path: Path, keys: SiteKeys, member: SiteIdentity
) -> None:
    """The request, which the site itself signed, holds fast which server is believed."""
    thief = Centre.new(tmp_path / "thief")
    (keys.folder / "consortium.json").write_bytes(thief.bundle.read_bytes())
    (keys.folder / "admission.json").write_bytes(thief.answer_to(member.keys.request).read_bytes())
    (keys.folder / "consortium.crt").write_text(thief.consortium.root.pem)
    with pytest.raises(TrustError, match=r"admission\.json: .*does not hold"):
        read_identity(keys.folder, now=NOW)


@pytest.mark.usefixtures("member")
def test_admission_ends(keys: SiteKeys) -> None:
    read_identity(keys.folder, now=NOW + timedelta(days=3649))
    with pytest.raises(TrustError, match=r"admission expired.*wardround site join"):
        read_identity(keys.folder, now=NOW + timedelta(days=3650))


def test_site_that_has_not_joined_is_told_how(tmp_path: Path, keys: SiteKeys) -> None:
    with pytest.raises(ConfigError, match=r"admission\.json: no such file; .*wardround site join"):
        read_identity(keys.folder, now=NOW)
    with pytest.raises(ConfigError, match="none: no such folder; wardround site init"):
        read_identity(tmp_path / "none", now=NOW)
