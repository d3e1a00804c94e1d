"""What certificates say (RFC 5280): who may sign what, for whom, and for how long."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from common.errors import TrustError
from common.trust.authority import CertificateKey
from tests.common.trust.pki import NOW, Authority


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.new()


def constraints_of(certificate: x509.Certificate) -> tuple[bool, int | None, bool]:
    found = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    return found.value.ca, found.value.path_length, found.critical


def test_root_signs_certificates_alone_and_holds_as_long_as_said(authority: Authority) -> None:
    root = authority.root.x509
    assert constraints_of(root) == (True, 1, True)
    usage = root.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.key_cert_sign
    assert not usage.value.digital_signature
    assert root.issuer == root.subject
    assert authority.root.end == NOW + timedelta(days=3650)
    assert authority.root.begin < NOW, "a site's clock may be behind"


def test_keys_and_signatures_are_p384(authority: Authority) -> None:
    for certificate in (authority.root.x509, authority.server().x509):
        public = certificate.public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        assert isinstance(public.curve, ec.SECP384R1)
        assert certificate.signature_hash_algorithm is not None
        assert certificate.signature_hash_algorithm.name == "sha384"


def test_server_certificate_serves_its_hosts_and_signs_nothing(authority: Authority) -> None:
    certificate = authority.server("server.example.org", "192.0.2.7", days=7)
    found = certificate.x509
    assert constraints_of(found) == (False, None, True)
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["server.example.org"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.7"]
    purposes = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert not found.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    assert certificate.end == NOW + timedelta(days=7)


def test_cross_certificate_is_about_the_new_root_and_outlives_neither() -> None:
    old, new = Authority.new(days=60), Authority.new()
    cross = old.vouch_for(new, days=90)
    assert cross.public_key == new.root.public_key
    assert cross.x509.subject == new.root.x509.subject
    assert cross.x509.issuer == old.root.x509.subject
    assert constraints_of(cross.x509) == (True, 0, True)
    assert cross.end == old.root.end
    assert old.vouch_for(new, days=5).end == NOW + timedelta(days=5)


def test_two_roots_and_two_certificates_differ(authority: Authority) -> None:
    other = Authority.new()
    assert other.root.x509.subject != authority.root.x509.subject
    assert authority.server().x509.serial_number != authority.server().x509.serial_number


def test_key_is_read_back(authority: Authority) -> None:
    assert CertificateKey.from_pem(authority.key.pem).is_of(authority.root)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        ec.generate_private_key(ec.SECP384R1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        ),
    ],
    ids=["empty", "text", "P-256", "encrypted"],
)
def test_content_without_a_usable_key_is_refused(content: bytes) -> None:
    with pytest.raises(TrustError, match="holds"):
        CertificateKey.from_pem(content)
