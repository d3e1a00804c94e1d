"""The member list: who was admitted and who was revoked, in order, signed as a whole by the server's key.

Entries are added and never changed or taken out, and the number of entries is the list's version. A key that ever was
in the list is never admitted again; the name of a revoked site is, with new keys. The signature is over all entries,
so that none can be cut off; that a whole older list was put in its place shows only to who holds a newer one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

from common.config.registry import near
from common.errors import ConfigError, TrustError
from common.trust.envelope import seal, unseal
from common.trust.keys import PublicKey, SigningKey
from common.trust.request import JoinRequest

_PURPOSE = "member list"
_MOST_CHARACTERS = 200


@dataclass(frozen=True, kw_only=True)
class Admitted:
    """A site was admitted.

    Attributes:
        site: Its name.
        signing_key: Its Ed25519 key, in hexadecimal.
        node_key: Its node key, as a line of OpenSSH.
        request: Digest of its request.
        time: When, UTC, ISO 8601.
    """

    site: str
    signing_key: str
    node_key: str
    request: str
    time: str


@dataclass(frozen=True, kw_only=True)
class Revoked:
    """A site was revoked.

    Attributes:
        site: Its name.
        reason: Why, in one line.
        time: When, UTC, ISO 8601.
    """

    site: str
    reason: str
    time: str


Entry: TypeAlias = Admitted | Revoked


@dataclass(frozen=True, kw_only=True)
class _Document:
    """What is signed."""

    consortium: str
    version: int
    entries: tuple[Entry, ...]


class Members:
    """Entries that were checked, in their order; never changed: `and_` gives a longer list.

    Attributes:
        consortium: Name of the consortium.
        entries: All of them.
    """

    def __init__(self, consortium: str, entries: Iterable[Entry] = ()) -> None:
        self.consortium = consortium
        self.entries: tuple[Entry, ...] = ()
        self._present: dict[str, Admitted] = {}
        for entry in entries:
            self._take(entry)

    def and_(self, entry: Entry) -> Members:
        """The list with one entry more.

        Raises:
            TrustError: A site is admitted whose name is taken, or with a key that was there before.
            ConfigError: A site is revoked that is no member, or for no reason that can be written.
        """
        return Members(self.consortium, (*self.entries, entry))

    def _take(self, entry: Entry) -> None:
        if isinstance(entry, Admitted):
            self.check_free(entry)
            self._present[entry.site] = entry
        else:
            self._check_revocation(entry)
            del self._present[entry.site]
        self.entries = (*self.entries, entry)

    @property
    def version(self) -> int:
        """Number of entries."""
        return len(self.entries)

    @property
    def present(self) -> dict[str, Admitted]:
        """Members by name, in the order of their admission."""
        return dict(self._present)

    def check_free(self, asked: Admitted | JoinRequest) -> None:
        """Return where a site may be admitted under this name, with these keys.

        Raises:
            TrustError: It may not.
        """
        for earlier in self.entries:
            if isinstance(earlier, Admitted) and _share_a_key(earlier, asked):
                self._refuse_key_of(earlier, asked)
        if asked.site in self._present:
            raise TrustError(
                f"{asked.site}: the name is taken since {self._present[asked.site].time}; "
                "have the site choose another, or revoke the member first"
            )

    def _refuse_key_of(self, earlier: Admitted, asked: Admitted | JoinRequest) -> NoReturn:
        if self._present.get(earlier.site) == earlier:
            raise TrustError(
                f"{asked.site}: a key of this request is that of {earlier.site}, a member since {earlier.time}; "
                "each site has keys of its own"
            )
        raise TrustError(
            f"{asked.site}: a key of this request was revoked with {earlier.site}; "
            "have the site make new keys with wardround site init, in a new folder"
        )

    def _check_revocation(self, entry: Revoked) -> None:
        if not entry.reason.strip() or not entry.reason.isprintable() or len(entry.reason) > _MOST_CHARACTERS:
            raise ConfigError(f"--reason: give one line of up to {_MOST_CHARACTERS} characters")
        if entry.site in self._present:
            return
        for earlier in reversed(self.entries):
            if isinstance(earlier, Revoked) and earlier.site == entry.site:
                raise ConfigError(f"{entry.site}: was revoked on {earlier.time} already ({earlier.reason})")
        names = sorted(self._present)
        raise ConfigError(f"{entry.site}: is no member; {near(entry.site, names) if names else 'there is none yet'}")

    def sealed(self, key: SigningKey) -> bytes:
        """The list's file."""
        document = _Document(consortium=self.consortium, version=self.version, entries=self.entries)
        return seal(document, key, purpose=_PURPOSE)


def _share_a_key(one: Admitted, other: Admitted | JoinRequest) -> bool:
    return one.signing_key == other.signing_key or one.node_key == other.node_key


def read_members(content: bytes, *, key: PublicKey, consortium: str) -> Members:
    """The list in a file.

    Raises:
        TrustError: It is damaged, changed, another consortium's, or signed with another key.
    """
    document = unseal(content, _Document, key, purpose=_PURPOSE)
    if document.consortium != consortium or document.version != len(document.entries):
        raise TrustError("is another consortium's, or not of the length that it says")
    try:
        return Members(consortium, document.entries)
    except ConfigError as error:
        raise TrustError(f"holds an entry that cannot be: {error}") from error
