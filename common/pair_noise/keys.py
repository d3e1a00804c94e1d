"""The keys that two sites' shared noise comes from: who has them, and how a step's key follows from them.

A site makes an X25519 key (RFC 7748) for a run when its process first meets the run, and says its public half in a
statement that it signs with its signing key. The private half stays in memory: a restart makes a new one, so that no
key outlives the process which drew noise from it. Two sites agree on

    pair key  = HKDF-SHA256(X25519(own, peer's), salt = run digest, info = both names and public keys, sorted)
    step key  = HKDF-Expand(pair key, "pair noise", round's context, step)

(RFC 5869). The context is the digest of the entry of the server's log that opened the round, which binds run, round,
sites and model: no two rounds, steps or pairs have a step key in common, and no two sites that were sent different
models. One step key is for one draw of noise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from common.canonical import canonical_json
from common.errors import PairKeyError, TrustError
from common.privacy.keystream import KEY_BYTES
from common.trust.keys import PublicKey, SigningKey

_PURPOSE = "pair key"
_KEY = re.compile(r"[0-9a-f]{64}")
_MOST_CHARACTERS = 200
_SIGNATURE = re.compile(r"[0-9a-f]{128}")


@dataclass(frozen=True, kw_only=True)
class PairStatement:
    """A site's word that a key is its own in a run.

    Attributes:
        site: The site's name.
        run: Digest of the run's configuration.
        key: Public X25519 key, in hexadecimal.
        signature: The site's, of the three, in hexadecimal.

    Raises:
        PairKeyError: A field is not of its form.
    """

    site: str
    run: str
    key: str
    signature: str

    def __post_init__(self) -> None:
        texts = (self.site, self.run, self.key, self.signature)
        if not all(isinstance(text, str) for text in texts) or not (
            0 < len(self.site) <= _MOST_CHARACTERS
            and _KEY.fullmatch(self.run)
            and _KEY.fullmatch(self.key)
            and _SIGNATURE.fullmatch(self.signature)
        ):
            raise PairKeyError("a pair key is not stated in its form; it is damaged or newer")

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PairStatement:
        """The statement that `as_json` wrote; its signature is not checked yet.

        Raises:
            PairKeyError: The value is none.
        """
        try:
            return cls(**value)
        except TypeError as error:
            raise PairKeyError("a pair key is not stated in its form; it is damaged or newer") from error

    def as_json(self) -> dict[str, str]:
        """The statement as a JSON object."""
        return asdict(self)

    def check(self, key: PublicKey, *, run: str) -> None:
        """Return where the statement is of this run, and signed with this key.

        Raises:
            PairKeyError: It is not.
        """
        if self.run != run:
            raise PairKeyError(f"{self.site}: its pair key is of another run")
        try:
            key.verify(bytes.fromhex(self.signature), _stated(self.site, self.run, self.key), purpose=_PURPOSE)
        except TrustError as error:
            raise PairKeyError(f"{self.site}: the signature of its pair key does not hold") from error


class PairKey:
    """A site's key of one run, in this process's memory alone.

    Args:
        site: The site's name.
        run: Digest of the run's configuration.
        signing_key: Signs the statement.

    Attributes:
        statement: What the others are told.
    """

    def __init__(self, *, site: str, run: str, signing_key: SigningKey) -> None:
        self._private = X25519PrivateKey.generate()
        public = self._private.public_key().public_bytes_raw().hex()
        signature = signing_key.sign(_stated(site, run, public), purpose=_PURPOSE)
        self.statement = PairStatement(site=site, run=run, key=public, signature=signature.hex())

    def shared_with(self, peer: PairStatement) -> bytes:
        """The pair key with a site whose statement was checked; the peer comes to the same.

        Raises:
            PairKeyError: The peer's key is one with which anybody would come to the same.
        """
        try:
            secret = self._private.exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(peer.key)))
        except ValueError as error:
            raise PairKeyError(f"{peer.site}: its pair key is of small order, which hides nothing") from error
        parties = sorted((one.site, one.key) for one in (self.statement, peer))
        salt = bytes.fromhex(self.statement.run)
        return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=canonical_json(parties)).derive(secret)


def step_key(pair_key: bytes, *, context: str, step: int) -> bytes:
    """The key of the noise that a pair shares in one step.

    Args:
        pair_key: Of the pair.
        context: Digest of what opened the round, in hexadecimal.
        step: From 0, in the round.
    """
    info = canonical_json(["pair noise", context, step])
    return HKDFExpand(algorithm=SHA256(), length=KEY_BYTES, info=info).derive(pair_key)


def _stated(site: str, run: str, key: str) -> bytes:
    return canonical_json({"site": site, "run": run, "key": key})
