"""A site's request to join: its name and public keys, proven by a signature of each key.

Both signatures cover the whole request, so that neither key, nor the name, nor the consortium can be changed for
another one, and no one can ask for a key that they do not hold. Whether the site is who it says is for people: they
compare the request's digest over the telephone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from common.errors import TrustError
from common.trust.envelope import SITE_OR_SERVER, body_bytes, body_digest, read_signed, written
from common.trust.keys import PublicKey, SigningKey
from common.trust.names import NAME_RULE, is_name
from common.trust.node_key import NodeKey, NodePublicKey
from common.trust.times import CLOCK_SKEW, Expiry, as_text, from_text

_PURPOSE = "site request"
_NODE = "ecdsa-p384"
_REMEDY = "have the site make a new one with wardround site init, in a new folder"


@dataclass(frozen=True, kw_only=True)
class JoinRequest:
    """What a site asks for.

    Attributes:
        consortium: Ed25519 key of the server that it asks, in hexadecimal.
        site: The name that it asks for.
        signing_key: The site's Ed25519 key, in hexadecimal.
        node_key: The site's node key, as a line of OpenSSH.
        created: When it was made, UTC, ISO 8601.

    Raises:
        TrustError: A value cannot be.
    """

    consortium: str
    site: str
    signing_key: str
    node_key: str
    created: str

    def __post_init__(self) -> None:
        if not is_name(self.site):
            raise TrustError(f"asks for a name that is none; {NAME_RULE}")
        for text in (self.consortium, self.signing_key):
            if PublicKey.from_hex(text).hex != text:
                raise TrustError("a public key is not written in lower case")
        self.node_public_key  # noqa: B018 - raises where it is none
        from_text(self.created)

    @property
    def public_key(self) -> PublicKey:
        """The site's Ed25519 key."""
        return PublicKey.from_hex(self.signing_key)

    @property
    def node_public_key(self) -> NodePublicKey:
        """The site's node key."""
        return NodePublicKey(self.node_key)

    @property
    def digest(self) -> str:
        """SHA-256 of all of this, for people to compare over the telephone."""
        return body_digest(self)

    def expiry(self, days: int) -> Expiry:
        """Until when it may be admitted.

        Args:
            days: How old a request may be.
        """
        made = from_text(self.created)
        end = made + timedelta(days=days)
        return Expiry(what=f"request of {self.site}", begin=made - CLOCK_SKEW, end=end, remedy=_REMEDY)


def write_request(
    *, consortium: PublicKey, site: str, signing_key: SigningKey, node_key: NodeKey, now: datetime
) -> bytes:
    """The file with which a site asks to join.

    Raises:
        TrustError: The name is no plain one.
    """
    request = JoinRequest(
        consortium=consortium.hex,
        site=site,
        signing_key=signing_key.public.hex,
        node_key=node_key.public.openssh,
        created=as_text(now),
    )
    content = body_bytes(request)
    signatures = {
        SITE_OR_SERVER: signing_key.sign(content, purpose=_PURPOSE),
        _NODE: node_key.sign(content, purpose=_PURPOSE),
    }
    return written(request, signatures)


def read_request(content: bytes) -> JoinRequest:
    """The request in a file, made by who holds both of its keys.

    Raises:
        TrustError: The file is damaged or changed, or a proof is missing or another's.
    """
    request, signatures = read_signed(content, JoinRequest)
    if set(signatures) != {SITE_OR_SERVER, _NODE}:
        raise TrustError("does not carry a signature of each of its keys")
    request.public_key.verify(signatures[SITE_OR_SERVER], body_bytes(request), purpose=_PURPOSE)
    request.node_public_key.verify(signatures[_NODE], body_bytes(request), purpose=_PURPOSE)
    return request
