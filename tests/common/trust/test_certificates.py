"""Certificates: the path to a root holds for its host and time alone, by our check, by OpenSSL and in TLS."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from common.errors import TrustError
from common.trust.authority import CertificateKey
from common.trust.certificates import Certificate, certificates_in, check_path
from tests.common.trust.pki import NOW, Authority, handshake, server_pem

CLOCK = datetime.now(UTC)
"""OpenSSL has no injected clock: what it is asked about is made now."""


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.new()


def test_path_holds_for_each_host(authority: Authority) -> None:
    certificate = authority.server("server.example.org", "192.0.2.7", "2001:db8::1")
    for host in ("server.example.org", "192.0.2.7", "2001:db8::1"):
        check_path([certificate], roots=[authority.root], host=host, now=NOW)


@pytest.mark.parametrize(
    "broken",
    [
        lambda a: check_path([a.server("localhost")], roots=[a.root], host="example.org", now=NOW),
        lambda a: check_path([a.server("192.0.2.7")], roots=[a.root], host="192.0.2.8", now=NOW),
        lambda a: check_path([a.server()], roots=[Authority.new().root], host="localhost", now=NOW),
        lambda a: check_path(
            [a.server(days=1)], roots=[a.root], host="localhost", now=NOW + timedelta(days=1, hours=1)
        ),
        lambda a: check_path([a.server()], roots=[a.root], host="localhost", now=NOW - timedelta(hours=2)),
        lambda a: check_path([a.root], roots=[a.root], host="localhost", now=NOW),
    ],
    ids=["host", "address", "wrong CA", "expired", "not yet", "a root as server"],
)
def test_path_that_does_not_hold_is_refused(authority: Authority, broken: Callable[[Authority], None]) -> None:
    with pytest.raises(TrustError, match="does not lead to a root"):
        broken(authority)


def test_expired_root_vouches_for_nothing() -> None:
    short = Authority.new(days=10)
    certificate = short.server(days=365)
    assert certificate.end == short.root.end
    check_path([certificate], roots=[short.root], host="localhost", now=NOW + timedelta(days=9))
    with pytest.raises(TrustError):
        check_path([certificate], roots=[short.root], host="localhost", now=NOW + timedelta(days=11))


def test_server_cannot_make_certificates(authority: Authority) -> None:
    """A thief of the server's key cannot vouch for another server."""
    key = CertificateKey.generate()
    thief = Authority(key, authority.server(key=key))
    forged = thief.server("localhost")
    with pytest.raises(TrustError):
        check_path([forged, thief.root], roots=[authority.root], host="localhost", now=NOW)


def test_crossover_is_believed_with_the_old_root_and_with_the_new_one(authority: Authority) -> None:
    successor = Authority.new()
    chain = [successor.server(), authority.vouch_for(successor)]
    for root in (authority.root, successor.root):
        check_path(chain, roots=[root], host="localhost", now=NOW)
    with pytest.raises(TrustError):
        check_path(chain[:1], roots=[authority.root], host="localhost", now=NOW)


def test_crossover_ends(authority: Authority) -> None:
    successor = Authority.new()
    chain = [successor.server(), authority.vouch_for(successor, days=90)]
    later = NOW + timedelta(days=91)
    check_path(chain, roots=[successor.root], host="localhost", now=later)
    with pytest.raises(TrustError):
        check_path(chain, roots=[authority.root], host="localhost", now=later)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_openssl_agrees_on_path_host_and_fingerprint(tmp_path: Path) -> None:
    authority = Authority.new(now=CLOCK)
    (tmp_path / "root.crt").write_text(authority.root.pem)
    (tmp_path / "server.crt").write_text(authority.server("localhost", now=CLOCK).pem)

    def verify(host: str) -> int:
        command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", host]
        command += ["-CAfile", str(tmp_path / "root.crt"), str(tmp_path / "server.crt")]
        return subprocess.run(command, capture_output=True, check=False).returncode

    assert verify("localhost") == 0
    assert verify("example.org") != 0
    shown = subprocess.run(
        ["openssl", "x509", "-in", tmp_path / "root.crt", "-noout", "-fingerprint", "-sha256"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.strip().split("=")[1].replace(":", "").lower() == authority.root.fingerprint


def test_tls_succeeds_with_the_root_alone(tmp_path: Path) -> None:
    authority, key = Authority.new(now=CLOCK), CertificateKey.generate()
    server_file = server_pem(tmp_path, key, [authority.server("localhost", "127.0.0.1", key=key, now=CLOCK)])
    assert handshake(server_file, authority.root.pem) == "hello"
    assert handshake(server_file, authority.root.pem, host="127.0.0.1") == "hello"
    with pytest.raises(ssl.SSLCertVerificationError, match=r"self-signed|unable to get local issuer|signature"):
        handshake(server_file, Authority.new(now=CLOCK).root.pem)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(server_file, authority.root.pem, host="example.org")


def test_tls_refuses_an_expired_certificate(tmp_path: Path) -> None:
    authority, key = Authority.new(now=CLOCK - timedelta(days=20)), CertificateKey.generate()
    old = authority.server(key=key, now=CLOCK - timedelta(days=20), days=10)
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        handshake(server_pem(tmp_path, key, [old]), authority.root.pem)


def test_tls_in_a_crossover_is_believed_with_either_root_or_both(tmp_path: Path) -> None:
    old, new, key = Authority.new(now=CLOCK), Authority.new(now=CLOCK), CertificateKey.generate()
    chain = [new.server(key=key, now=CLOCK), old.vouch_for(new, now=CLOCK)]
    server_file = server_pem(tmp_path, key, chain)
    for roots in (old.root.pem, new.root.pem, old.root.pem + new.root.pem):
        assert handshake(server_file, roots) == "hello"


def test_certificates_in_a_file_are_found_beside_a_key(authority: Authority, tmp_path: Path) -> None:
    key = CertificateKey.generate()
    chain = (authority.server(key=key), authority.root)
    content = server_pem(tmp_path, key, chain).read_bytes()
    assert certificates_in(content) == chain
    assert CertificateKey.from_pem(content).is_of(chain[0])
    assert not CertificateKey.from_pem(content).is_of(chain[1])
    for nothing in (b"", key.pem, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        with pytest.raises(TrustError, match="holds no certificate"):
            certificates_in(nothing)


@pytest.mark.parametrize("text", ["", "text", "\ud800"])
def test_text_that_is_no_certificate_is_refused(text: str) -> None:
    with pytest.raises(TrustError, match="PEM"):
        Certificate(text)


def test_certificate_is_written_in_one_way(authority: Authority) -> None:
    with pytest.raises(TrustError, match="plain PEM"):
        Certificate("comment\n" + authority.root.pem)
