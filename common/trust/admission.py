"""The answer to a request: the server vouches for a site's name and keys, and says whom the site is to believe.

It is written anew, with the same name and keys, whenever the consortium's roots or hosts change. A site that was
revoked keeps its admission; the server no longer answers its node key.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.errors import TrustError
from common.trust.consortium import Consortium
from common.trust.envelope import seal, unseal
from common.trust.keys import PublicKey, SigningKey
from common.trust.request import JoinRequest
from common.trust.times import CLOCK_SKEW, Expiry, from_text

_PURPOSE = "site admission"


@dataclass(frozen=True, kw_only=True)
class Admission:
    """A site's membership.

    Attributes:
        site: Its name in the consortium.
        signing_key: Its Ed25519 key, in hexadecimal.
        node_key: Fingerprint of its node key.
        admitted: Since when, UTC, ISO 8601.
        expires: Until when: the end of the last root.
        consortium: Whom it is to believe, from now on.
    """

    site: str
    signing_key: str
    node_key: str
    admitted: str
    expires: str
    consortium: Consortium

    def __post_init__(self) -> None:
        from_text(self.admitted)
        from_text(self.expires)

    @property
    def expiry(self) -> Expiry:
        """When it ends."""
        remedy = "ask the coordinating centre for a new one, and take it with wardround site join"
        begin = from_text(self.admitted) - CLOCK_SKEW
        return Expiry(what="admission", begin=begin, end=from_text(self.expires), remedy=remedy)

    def sealed(self, key: SigningKey) -> bytes:
        """The admission's file."""
        return seal(self, key, purpose=_PURPOSE)


def read_admission(content: bytes, *, request: JoinRequest) -> Admission:
    """The admission in a file, as the answer to a site's own request.

    1. It is signed by the key of the consortium that the request is for.
    2. It is for the site and both keys of the request.
    3. It names no other key to believe.

    When it ends is left to the caller, who knows the time.

    Raises:
        TrustError: A rule is broken.
    """
    key = PublicKey.from_hex(request.consortium)
    admission = unseal(content, Admission, key, purpose=_PURPOSE)
    asked = (request.site, request.signing_key, request.node_public_key.fingerprint)
    if (admission.site, admission.signing_key, admission.node_key) != asked:
        raise TrustError(f"admits {admission.site} with other keys or another name than this site asked for")
    if admission.consortium.signing_key != key.hex:
        raise TrustError("names another server's key than the one that this site joined")
    return admission
