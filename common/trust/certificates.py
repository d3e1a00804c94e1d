"""X.509 certificates (RFC 5280): what is read of them, and the path from a server's to a consortium's root."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from common.errors import TrustError
from common.trust.names import is_address
from common.trust.times import Expiry


@dataclass(frozen=True)
class Certificate:
    """A certificate.

    Attributes:
        pem: It, in PEM form.

    Raises:
        TrustError: The text is no certificate, or not the one way in which it is written.
    """

    pem: str

    def __post_init__(self) -> None:
        if self.x509.public_bytes(Encoding.PEM).decode() != self.pem:
            raise TrustError("a certificate is not written in plain PEM form")

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Certificate:
        """The certificate that `cryptography` made."""
        return cls(certificate.public_bytes(Encoding.PEM).decode())

    @property
    def x509(self) -> x509.Certificate:
        """It, as `cryptography` knows it."""
        try:
            return x509.load_pem_x509_certificate(self.pem.encode())
        except ValueError as error:
            raise TrustError("a certificate is not in PEM form") from error

    @property
    def fingerprint(self) -> str:
        """SHA-256 of it, in hexadecimal, as `openssl x509 -fingerprint -sha256` shows it."""
        return self.x509.fingerprint(SHA256()).hex()

    @property
    def public_key(self) -> bytes:
        """The key that it is about, in DER."""
        return self.x509.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def begin(self) -> datetime:
        """From when it is valid."""
        return self.x509.not_valid_before_utc

    @property
    def end(self) -> datetime:
        """Until when it is valid."""
        return self.x509.not_valid_after_utc

    def expiry(self, what: str, *, remedy: str) -> Expiry:
        """When it ends, in words."""
        return Expiry(what=what, begin=self.begin, end=self.end, remedy=remedy)


def certificates_in(pem: bytes) -> tuple[Certificate, ...]:
    """The certificates in a PEM file, in their order; what else it holds is passed over.

    Raises:
        TrustError: There is none.
    """
    try:
        return tuple(map(Certificate.of, x509.load_pem_x509_certificates(pem)))
    except ValueError as error:
        raise TrustError("holds no certificate in PEM form") from error


def check_path(chain: Sequence[Certificate], *, roots: Sequence[Certificate], host: str, now: datetime) -> None:
    """Return where a server's certificate leads to a root, for this host, at this time (RFC 5280, section 6).

    Args:
        chain: The server's certificate, then what a server sends along with it.
        roots: What is trusted.
        host: Name or address of the server.
        now: The time.

    Raises:
        TrustError: It does not.
    """
    subject = x509.IPAddress(ipaddress.ip_address(host)) if is_address(host) else x509.DNSName(host)
    policy = PolicyBuilder().store(Store([root.x509 for root in roots])).time(now)
    try:
        policy.build_server_verifier(subject).verify(chain[0].x509, [link.x509 for link in chain[1:]])
    except VerificationError as error:
        raise TrustError(
            f"the server certificate does not lead to a root of the consortium for the host {host}"
        ) from error
