"""Signed heads: what an owner vouches for of its log, and what its counterpart holds against it.

A head names the log, how many entries it has, the root of the Merkle tree over them and the digest of the last one;
the owner signs it. Whoever holds a head can demand that each later one extends it. Server and site hold each other's
heads, each in a log of its own, so that neither can change its past alone.

A later head is taken only if

1. it is signed by the key that the owner is known by;
2. it is of the same log;
3. it has at least as many entries, and if as many, the same ones;
4. its proof shows that its entries begin with those of the earlier head (RFC 9162, 2.1.4.2).

Left out on purpose: the time. A clock that was set back rewrites nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from common.canonical import canonical_json
from common.errors import TrustError
from common.evidence.merkle import verify_consistency
from common.trust.keys import PublicKey, SigningKey

_PURPOSE = "log head"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"[0-9][0-9T.:+-]{0,39}")
_MOST_ENTRIES = 2**53


@dataclass(frozen=True, kw_only=True)
class HeadContent:
    """What is signed of a log.

    Attributes:
        log: The log: digest of its first entry, which names owner and key.
        size: Number of entries.
        root: Root of the Merkle tree over them, in hexadecimal.
        digest: Digest of the last one.
        time: When the last one was written.

    Raises:
        TrustError: There is no entry, or a field is not of its form.
    """

    log: str
    size: int
    root: str
    digest: str
    time: str

    def __post_init__(self) -> None:
        forms = ((self.log, _DIGEST), (self.root, _DIGEST), (self.digest, _DIGEST), (self.time, _TIME))
        is_formed = all(isinstance(text, str) and form.fullmatch(text) for text, form in forms)
        if not is_formed or type(self.size) is not int or not 0 < self.size < _MOST_ENTRIES:
            raise TrustError("a head is not of its form; it is damaged or newer")

    def as_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(vars(self))


@dataclass(frozen=True, kw_only=True)
class SignedHead:
    """A head, and its owner's signature; nothing of it is trusted before `check`.

    Attributes:
        content: What is signed.
        signature: Of the content's bytes.
    """

    content: HeadContent
    signature: bytes

    @classmethod
    def sign(cls, content: HeadContent, key: SigningKey) -> SignedHead:
        """The head under its owner's key."""
        return cls(content=content, signature=key.sign(content.as_bytes(), purpose=_PURPOSE))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SignedHead:
        """The head that `as_json` wrote.

        Raises:
            TrustError: The value is no head.
        """
        try:
            fields = dict(value)
            signature = bytes.fromhex(fields.pop("signature"))
            return cls(content=HeadContent(**fields), signature=signature)
        except (ValueError, KeyError, TypeError) as error:
            raise TrustError("a head is not of its form; it is damaged or newer") from error

    def as_json(self) -> dict[str, Any]:
        """The head as a JSON object."""
        return {**vars(self.content), "signature": self.signature.hex()}

    def check(self, key: PublicKey) -> None:
        """Return where the owner of `key` signed this head.

        Raises:
            TrustError: Somebody else did, or the head was changed.
        """
        key.verify(self.signature, self.content.as_bytes(), purpose=_PURPOSE)


@dataclass(frozen=True, kw_only=True)
class Extension:
    """What one side sends to the other each round: its head, and the proof that it extends the one held there.

    Attributes:
        head: The sender's head.
        known: Size of the head that the receiver holds, as it last said; 0 where it holds none.
        proof: From `known` entries to the head's.
    """

    head: SignedHead
    known: int
    proof: tuple[bytes, ...]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Extension:
        """The extension that `as_json` wrote.

        Raises:
            TrustError: The value is none.
        """
        try:
            head, known, proof = SignedHead.from_json(value["head"]), value["known"], value["proof"]
            hashes = tuple(bytes.fromhex(text) for text in proof)
        except (ValueError, KeyError, TypeError) as error:
            raise TrustError("a head's proof is not of its form; it is damaged or newer") from error
        if type(known) is not int:
            raise TrustError("a head's proof is not of its form; it is damaged or newer")
        return cls(head=head, known=known, proof=hashes)

    def as_json(self) -> dict[str, Any]:
        """The extension as a JSON object."""
        return {"head": self.head.as_json(), "known": self.known, "proof": [found.hex() for found in self.proof]}


def check_consistency(extension: Extension, *, held: SignedHead | None, key: PublicKey) -> None:
    """Return where a head extends the one that is held of the same owner.

    Args:
        extension: The later head and its proof.
        held: The earlier head, checked when it came; None for the first one.
        key: The owner's key.

    Raises:
        TrustError: It does not: the owner rewrote, cut or forked its log, or somebody else speaks in its name.
    """
    head = extension.head
    head.check(key)
    later, known = head.content, held.content if held else None
    if extension.known != (known.size if known else 0):
        raise TrustError(f"the proof begins at entry {extension.known}, and what is held ends at {_size(known)}")
    if known is None:
        if extension.proof:
            raise TrustError("a first head comes with a proof, and there is nothing that it could extend")
        return
    if later.log != known.log:
        raise TrustError("the head is of another log than the one that is held; its owner began anew")
    if later.size < known.size:
        raise TrustError(
            f"entry {later.size + 1} is missing: the head is of {later.size} entries, {known.size} are held"
        )
    if later.size == known.size and later != known:
        raise TrustError(f"two heads of {known.size} entries: one of the entries up to it was rewritten")
    try:
        verify_consistency(
            first=known.size,
            first_root=bytes.fromhex(known.root),
            second=later.size,
            second_root=bytes.fromhex(later.root),
            proof=extension.proof,
        )
    except TrustError as error:
        raise TrustError(f"one of the entries up to {known.size} was rewritten: {error}") from error


def _size(content: HeadContent | None) -> int:
    return content.size if content else 0
