"""`wardround site import`: what it refuses before it asks, how it shows who asks, and whom it believes."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from client.pacs.credentials import VARIABLE
from tests.client.pacs.archive_studies import image, report
from tests.client.pacs.conftest import Command, records
from tests.client.pacs.lying_archive import lying_archive


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ([], "give --dicomweb URL or --aet TITLE@HOST:PORT, one of them"),
        (["--dicomweb", "http://pacs.example.org/dicom-web"], "--dicomweb: patients' data would come unencrypted; use"),
        (["--aet", "PACS@10.1.2.3:104"], "--aet: patients' data would come unencrypted; use --dicomweb with https, or"),
        (["--dicomweb", "https://me:secret@pacs/"], "--dicomweb: holds a login, which others can read; use --login"),
        (["--dicomweb", "ftp://pacs/"], "--dicomweb: not an address; write https://HOST/PATH"),
        (["--dicomweb", "https://pacs/?a=b"], "--dicomweb: holds a ? or #; write https://HOST/PATH alone"),
        (["--aet", "PACS@10.1.2.3"], "--aet: not an archive; write TITLE@HOST:PORT"),
        (["--aet", "A-TITLE-TOO-LONG-FOR-DICOM@127.0.0.1:104"], "--aet: not an AE title; use 1 to 16"),
        (["--aet", "PACS@127.0.0.1:104", "--login", "x"], "--login, --ca: go with --dicomweb"),
        (["--dicomweb", "https://pacs/", "--listen", "104"], "--listen: goes with --aet"),
        (["--dicomweb", "https://pacs/", "--ca", "nowhere.pem"], "nowhere.pem: no such file; name the PEM file"),
        (["--dicomweb", "https://pacs/", "--since", "31.1.2024"], "--since 31.1.2024: not a day; write YYYY-MM-DD"),
        (["--dicomweb", "https://pacs/", "--since", "2024-03-01"], "--since 2024-03-01: is after the last day"),
        (["--dicomweb", "https://pacs/", "--reports", "nowhere.csv"], "--reports nowhere.csv: no such file; name the"),
        (["--dicomweb", "https://pacs/", "--hours", "8-9"], "--hours: not hours; write"),
    ],
)
def test_import_refuses_before_it_asks(import_: Command, tmp_path: Path, options: list[str], line: str) -> None:
    ended = import_(*options)
    assert ended.code == 2
    assert ended.line.startswith(f"wardround: {line}")
    assert not (tmp_path / "studies").exists()


def test_login_comes_from_a_private_file_or_the_environment(
    import_: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = tmp_path / "login"
    login.write_text("me:pass:word\n", encoding="utf-8")
    login.chmod(0o640)
    with lying_archive() as archive:
        ended = import_("--dicomweb", archive.url, "--login", login)
        assert (ended.code, "others can read this login (mode 0640); chmod 600" in ended.line) == (4, True)
        login.chmod(0o600)
        assert import_("--dicomweb", archive.url, "--login", login).code == 0
        assert archive.headers["Authorization"] == "Basic bWU6cGFzczp3b3Jk"
        monkeypatch.setenv(VARIABLE, "Bearer abc.def")
        assert import_("--dicomweb", archive.url).code == 0
        assert archive.headers["Authorization"] == "Bearer abc.def"
        monkeypatch.setenv(VARIABLE, "secret")
        ended = import_("--dicomweb", archive.url)
        assert (ended.code, ended.line) == (
            2,
            f"wardround: {VARIABLE}: holds no login; write one line, user:password or Bearer TOKEN",
        )


def test_https_is_believed_with_its_own_authority_alone(import_: Command, tmp_path: Path) -> None:
    certificate = _certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with lying_archive(context=context) as archive:
        archive.instances = [image(1), report(1, "Text.")]
        ended = import_("--dicomweb", archive.url)
        assert (ended.code, ended.line) == (
            4,
            "wardround: --dicomweb: the archive's certificate is not believed; give --ca FILE of its authority",
        )
        assert not archive.asked
        assert import_("--dicomweb", archive.url, "--ca", certificate).code == 0
    assert len(records(tmp_path / "studies")) == 1


def _certificate(folder: Path) -> Path:
    """Key and certificate of an archive on loopback, which is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pacs")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "pacs.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path
