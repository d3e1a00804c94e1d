"""A consortium's certificate authority: a root, server certificates below it, and the step from one root to the next.

Keys are NIST P-384, signatures ECDSA over SHA-384. A root signs server certificates, and the root that follows it: a
server that sends the cross certificate along is believed by sites that know the old root alone and by those that know
the new one. Nothing outlives what vouches for it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from common.errors import TrustError
from common.trust.certificates import Certificate
from common.trust.names import is_address
from common.trust.times import CLOCK_SKEW


class CertificateKey:
    """Private key of a root or a server; what shows it is `pem` alone, for a file of mode 0600."""

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        self._private = private

    @classmethod
    def generate(cls) -> CertificateKey:
        """A new key, in memory."""
        return cls(ec.generate_private_key(ec.SECP384R1()))

    @classmethod
    def from_pem(cls, content: bytes) -> CertificateKey:
        """The key in a PEM file; certificates beside it are passed over.

        Raises:
            TrustError: There is none.
        """
        try:
            key = load_pem_private_key(content, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise TrustError("holds no private key in PEM form without a password") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP384R1):
            raise TrustError("holds a private key of another kind than NIST P-384")
        return cls(key)

    @property
    def pem(self) -> bytes:
        """The key as a PEM file (PKCS #8), not encrypted."""
        return self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def public(self) -> ec.EllipticCurvePublicKey:
        """Its public key."""
        return self._private.public_key()

    def is_of(self, certificate: Certificate) -> bool:
        """Whether a certificate is about this key."""
        return self.public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == certificate.public_key

    def sign(self, builder: x509.CertificateBuilder) -> Certificate:
        """The certificate, signed."""
        return Certificate.of(builder.sign(self._private, SHA384()))


def create_root(name: str, *, key: CertificateKey, now: datetime, days: int) -> Certificate:
    """A root that vouches for itself.

    Args:
        name: The consortium's.
        key: The root's.
        now: When it begins.
        days: How long it holds.
    """
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public)
    subject = _subject(name, f"root {identifier.digest.hex()[:8]}")
    builder = _builder(subject, subject, key.public, begin=now - CLOCK_SKEW, end=now + timedelta(days=days))
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
    )
    return key.sign(_as_authority(builder, path_length=1))  # below it: a cross certificate, and then a server's


def cross_sign(
    successor: Certificate, *, root: Certificate, key: CertificateKey, now: datetime, days: int
) -> Certificate:
    """A certificate with which the old root vouches for the new one.

    Args:
        successor: The new root.
        root: The old root.
        key: The old root's.
        now: When it begins.
        days: How long the cross-over lasts; no longer than either root.
    """
    end = min(now + timedelta(days=days), root.end, successor.end)
    public = successor.x509.public_key()
    builder = _builder(root.x509.subject, successor.x509.subject, public, begin=now - CLOCK_SKEW, end=end)
    return key.sign(_as_authority(builder.add_extension(_issued_by(root), critical=False), path_length=0))


def issue_server_certificate(
    name: str,
    hosts: Sequence[str],
    *,
    server_key: CertificateKey,
    root: Certificate,
    root_key: CertificateKey,
    now: datetime,
    days: int,
) -> Certificate:
    """A server's certificate.

    Args:
        name: The consortium's.
        hosts: Names and IP addresses by which sites reach the server.
        server_key: The server's.
        root: What vouches for it.
        root_key: The root's.
        now: When it begins.
        days: How long it holds; no longer than the root.
    """
    end = min(now + timedelta(days=days), root.end)
    builder = _builder(root.x509.subject, _subject(name, "server"), server_key.public, begin=now - CLOCK_SKEW, end=end)
    names = [x509.IPAddress(ipaddress.ip_address(host)) if is_address(host) else x509.DNSName(host) for host in hosts]
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(_issued_by(root), critical=False)
    )
    return root_key.sign(builder)


def _builder(
    issuer: x509.Name, subject: x509.Name, public: CertificatePublicKeyTypes, *, begin: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _as_authority(builder: x509.CertificateBuilder, *, path_length: int) -> x509.CertificateBuilder:
    constraints = x509.BasicConstraints(ca=True, path_length=path_length)
    return builder.add_extension(constraints, critical=True).add_extension(
        _usage(key_cert_sign=True, crl_sign=True), critical=True
    )


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _issued_by(root: Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = root.x509.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _subject(organisation: str, name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
