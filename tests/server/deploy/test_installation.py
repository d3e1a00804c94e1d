"""A server's folder is believed only as a whole: each part that was changed, exchanged or laid open is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from common.errors import ConfigError, TrustError, WardroundError
from common.trust.authority import CertificateKey
from common.trust.keys import SigningKey
from server.deploy.init import create_consortium
from server.deploy.installation import Installation, alone_in, publish, read_installation
from tests.common.trust.pki import Authority
from tests.server.deploy.joining import NOW, Asking, admitted


def replaced(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))


@pytest.mark.parametrize("name", ["signing_key.pem", "server.pem"])
@pytest.mark.parametrize("mode", [0o640, 0o644, 0o604])
def test_private_file_that_others_can_read_is_refused(
    installation: Installation, config_file: Path, name: str, mode: int
) -> None:
    (installation.folder / name).chmod(mode)
    with pytest.raises(TrustError, match=rf"{name}: others can read.*chmod 600"):
        read_installation(config_file).check(NOW)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda f: replaced(f / "consortium.json", b'"port": 8443', b'"port": 8444'), TrustError, "does not hold"),
        (lambda f: replaced(f / "members.json", b'"version": 0', b'"version": 1'), TrustError, "does not hold"),
        (lambda f: (f / "members.json").write_bytes(b"{}"), TrustError, "members.json: is not written as.*restore"),
        (
            lambda f: replaced(f / "consortium.yaml", b"8443", b"8444"),
            ConfigError,
            "other hosts or another port.*rotate",
        ),
        (lambda f: replaced(f / "consortium.yaml", b"localhost", b"example.org"), ConfigError, "other hosts"),
        (lambda f: replaced(f / "consortium.yaml", b"north-sea", b"south-sea"), ConfigError, "north-sea, for good"),
        (
            lambda f: (f / "server.pem").write_bytes(CertificateKey.generate().pem),
            TrustError,
            "server.pem: holds no cert",
        ),
        (lambda f: (f / "server.pem").write_bytes(b""), TrustError, "server.pem: holds no private key.*rotate"),
    ],
)
def test_changed_part_is_refused(
    installation: Installation,
    config_file: Path,
    change: Callable[[Path], object],
    error: type[WardroundError],
    said: str,
) -> None:
    change(installation.folder)
    with pytest.raises(error, match=said):
        read_installation(config_file).check(NOW)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("signing_key.pem", "is another key than"),
        ("consortium.json", "does not hold"),
        ("members.json", "does not hold"),
        ("server.pem", "does not lead to a root"),
    ],
)
def test_part_of_another_consortium_is_refused(
    tmp_path: Path, installation: Installation, config_file: Path, name: str, said: str
) -> None:
    elsewhere = create_consortium(tmp_path / "b", name="north-sea", hosts=installation.config.hosts, now=NOW)
    (installation.folder / name).write_bytes((elsewhere.folder / name).read_bytes())
    with pytest.raises(TrustError, match=said):
        read_installation(config_file).check(NOW)


def test_key_that_is_not_the_certificates_is_refused(installation: Installation, config_file: Path) -> None:
    path = installation.folder / "server.pem"
    certificate = path.read_bytes().partition(b"-----BEGIN CERTIFICATE")
    path.write_bytes(CertificateKey.generate().pem + certificate[1] + certificate[2])
    with pytest.raises(TrustError, match=r"server\.pem: its key is not that of its certificate"):
        read_installation(config_file).check(NOW)


def test_certificate_of_another_root_is_refused(installation: Installation, config_file: Path) -> None:
    key = CertificateKey.generate()
    certificate = Authority.new().server("localhost", "127.0.0.1", key=key)
    (installation.folder / "server.pem").write_bytes(key.pem + certificate.pem.encode())
    with pytest.raises(TrustError, match=r"server\.pem: .*does not lead to a root"):
        read_installation(config_file).check(NOW)


@pytest.mark.parametrize(
    ("later", "said"),
    [
        (timedelta(days=365), "server certificate expired on 2027-11-24; wardround server rotate"),
        (timedelta(days=3650), "root certificate expired on 2036-11-21; wardround server rotate --ca"),
        (-timedelta(hours=2), "root certificate is not valid before.*set the clock"),
    ],
)
def test_certificates_hold_at_their_time_alone(installation: Installation, later: timedelta, said: str) -> None:
    installation.check(NOW + timedelta(days=364))
    with pytest.raises(TrustError, match=said):
        installation.check(NOW + later)


def test_root_key_may_lie_elsewhere(installation: Installation, config_file: Path, site: Asking) -> None:
    for path in installation.folder.glob("ca/*_key.pem"):
        path.unlink()
    read_installation(config_file).check(NOW)
    admitted(installation, site.request(installation))


def test_publishing_writes_what_is_missing_and_nothing_else(
    installation: Installation, config_file: Path, site: Asking
) -> None:
    answer = admitted(installation, site.request(installation))
    before = answer.stat().st_mtime_ns
    stray = installation.folder / "nodes" / "stranger.pub"
    stray.write_text("ecdsa-sha2-nistp384 AAAA stranger")
    (installation.folder / "consortium.crt").unlink()
    publish(read_installation(config_file))
    assert not stray.exists()
    assert (installation.folder / "consortium.crt").exists()
    assert answer.stat().st_mtime_ns == before


def test_signing_key_of_another_kind_is_refused(installation: Installation, config_file: Path, tmp_path: Path) -> None:
    SigningKey.create(tmp_path / "new.pem")
    (tmp_path / "new.pem").replace(installation.folder / "signing_key.pem")
    with pytest.raises(TrustError, match=r"signing_key\.pem: is another key than .*restore both"):
        read_installation(config_file)


def test_no_folder_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--config FILE"), alone_in(tmp_path / "none"):
        pytest.fail("the block must not run")
