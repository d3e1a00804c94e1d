"""What a hospital must know of a consortium: its name, where its server is, and whom to believe.

The server's Ed25519 key is the anchor. A hospital learns it once, from the consortium's file, and compares the file's
digest over the telephone; from then on the key vouches for everything else, new roots included. The signature on the
first file proves only that it came through whole.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.errors import TrustError
from common.trust.certificates import Certificate
from common.trust.envelope import body_digest, read_signed, seal, unseal
from common.trust.keys import PublicKey, SigningKey
from common.trust.names import is_host, is_name
from common.trust.times import Expiry

_PURPOSE = "consortium"
_PORTS = range(1, 65536)


@dataclass(frozen=True, kw_only=True)
class Consortium:
    """The public side of a consortium.

    Attributes:
        name: Its name.
        version: Grows with each change, so that an older file is never taken for a newer one.
        hosts: Names and IP addresses of the server; sites dial the first.
        port: The port of the server that sites dial.
        signing_key: The server's Ed25519 key, in hexadecimal.
        roots: Certificates in PEM form that a server's may lead to, the one in use last.

    Raises:
        TrustError: A value cannot be.
    """

    name: str
    version: int
    hosts: tuple[str, ...]
    port: int
    signing_key: str
    roots: tuple[str, ...]

    def __post_init__(self) -> None:
        if not is_name(self.name) or not self.hosts or not all(map(is_host, self.hosts)) or self.port not in _PORTS:
            raise TrustError("names a consortium, a host or a port that cannot be")
        if self.version < 1 or not self.roots or self.public_key.hex != self.signing_key:
            raise TrustError("names a version, a root or a key that cannot be")
        self.certificates  # noqa: B018 - raises where one is none

    @property
    def public_key(self) -> PublicKey:
        """The server's Ed25519 key."""
        return PublicKey.from_hex(self.signing_key)

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """The roots."""
        return tuple(map(Certificate, self.roots))

    @property
    def root(self) -> Certificate:
        """The root in use."""
        return self.certificates[-1]

    @property
    def digest(self) -> str:
        """SHA-256 of all of this, for people to compare over the telephone."""
        return body_digest(self)

    @property
    def address(self) -> str:
        """Where sites dial."""
        host = self.hosts[0]
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def expiry(self) -> Expiry:
        """When its root ends."""
        return self.root.expiry(
            "root certificate", remedy="wardround server rotate --ca makes the next one, and each site takes it"
        )

    def sealed(self, key: SigningKey) -> bytes:
        """The consortium's file."""
        return seal(self, key, purpose=_PURPOSE)


def read_consortium(content: bytes, *, key: PublicKey | None = None) -> Consortium:
    """The consortium in a file.

    Args:
        content: The file.
        key: The server's key where it is known; without it, the file's digest is yet to be compared.

    Raises:
        TrustError: The file is damaged or changed, or another key's.
    """
    named, _ = read_signed(content, Consortium)
    return unseal(content, Consortium, key or named.public_key, purpose=_PURPOSE)
