"""The books: a ledger's entries, checked one after another, and what they add up to.

An entry is taken only if

1. its digest is that of its bytes, and the bytes are canonical;
2. it follows the entry before it: the next sequence number, and that entry's digest;
3. it is signed by the key that the first entry names;
4. it may stand where it stands: whose ledger first, then a budget, then reservations and what settles each of them,
   once; what was lost is recovered once, and never settled: it has left already.

Left out on purpose: the time. A clock that was set back neither adds to a spend nor takes from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from common.errors import LedgerError, TrustError
from common.files import sha256_hex
from common.ledger.entries import (
    BEFORE_THE_FIRST,
    FORMAT,
    Account,
    Budget,
    BudgetStated,
    Entry,
    Opened,
    Recovered,
    Reserved,
    Settled,
    StoredEntry,
    check_signature,
    entry_from_bytes,
)
from common.privacy.events import DiscreteLaplace
from common.trust.keys import PublicKey

_ROUNDING = 1e-9
"""Of the two ways to one noise multiplier."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """The last entry: it stands for the ledger up to it.

    Attributes:
        sequence: Number of entries.
        digest: Digest of the last one.
        signature: The site's, of the digest.
    """

    sequence: int
    digest: str
    signature: bytes


class Books:
    """Entries that were checked, in their order. `add` is the only way in."""

    def __init__(self, entries: Iterable[StoredEntry] = ()) -> None:
        self._entries: list[tuple[Entry, str]] = []
        self._last: StoredEntry | None = None
        self._opened: Opened | None = None
        self._key: PublicKey | None = None
        self._budget: Budget | None = None
        self._reservations: dict[str, Reserved] = {}
        self._accounts: dict[Account, dict[str, Reserved]] = {}
        self._settled: set[str] = set()
        self._recovered: set[str] = set()
        self._contexts: set[str] = set()
        for entry in entries:
            self.add(entry)

    def add(self, stored: StoredEntry) -> None:
        """Check the next entry and take it in.

        Raises:
            LedgerError: It breaks one of the rules above; the books are as before.
        """
        sequence = len(self) + 1
        try:
            entry = self._checked(stored, sequence)
            key = self._key or _key_of(entry)
            check_signature(stored.digest, stored.signature, key)
            self._take(entry, stored.digest)
        except LedgerError as error:
            raise LedgerError(f"entry {sequence}: {error}") from error
        self._key = key
        self._entries.append((entry, stored.digest))
        self._last = stored

    def _checked(self, stored: StoredEntry, sequence: int) -> Entry:
        """The entry, where it is whole and follows the one before."""
        if sha256_hex(stored.record) != stored.digest:
            raise LedgerError("its digest is not that of its content")
        entry = entry_from_bytes(stored.record)
        if (entry.sequence, entry.previous) != (sequence, self._last.digest if self._last else BEFORE_THE_FIRST):
            raise LedgerError("it does not follow the entry before it; entries are missing, new or swapped")
        return entry

    def _take(self, entry: Entry, digest: str) -> None:
        body = entry.body
        if (entry.sequence == 1) != isinstance(body, Opened):
            raise LedgerError("a ledger begins with whose it is, and says so once")
        if isinstance(body, Opened):
            self._opened = body
        elif isinstance(body, BudgetStated):
            self._budget = body.budget
        elif self._budget is None:
            raise LedgerError("something is reserved before there is a budget")
        elif isinstance(body, Reserved):
            if isinstance(body, Recovered):
                self._refuse_second_recovery(body)
                self._recovered.add(body.lost)
            _refuse_more_than_is_shared(body)
            self._reservations[digest] = body
            if body.shared is not None:
                self._contexts.add(body.shared.context)
            of_account = self._accounts.pop(body.account, {})
            of_account[digest] = body
            self._accounts[body.account] = of_account
        else:
            self._refuse_second_settling(body)
            self._settled.add(body.reservation)

    def _refuse_second_recovery(self, body: Recovered) -> None:
        if self.has_paid(body.lost):
            raise LedgerError("it recovers what is not lost")

    def _refuse_second_settling(self, body: Settled) -> None:
        if body.reservation not in self._reservations:
            raise LedgerError("it settles what was never reserved")
        if isinstance(self._reservations[body.reservation], Recovered):
            raise LedgerError("it settles what was recovered, and has left already")
        if body.reservation in self._settled:
            raise LedgerError("it settles what was settled before")

    def __len__(self) -> int:
        """Number of entries."""
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        """The entries, first to last."""
        return (entry for entry, _ in self._entries)

    @property
    def opened(self) -> Opened:
        """Whose ledger this is.

        Raises:
            LedgerError: There is no entry.
        """
        if self._opened is None:
            raise LedgerError("the ledger is empty")
        return self._opened

    @property
    def head(self) -> Head:
        """The last entry.

        Raises:
            LedgerError: There is none.
        """
        if self._last is None:
            raise LedgerError("the ledger is empty")
        return Head(sequence=len(self), digest=self._last.digest, signature=self._last.signature)

    @property
    def last(self) -> StoredEntry | None:
        """The last entry as it is stored; None where there is none."""
        return self._last

    @property
    def budget(self) -> Budget:
        """The budget stated last.

        Raises:
            LedgerError: None was stated.
        """
        if self._budget is None:
            raise LedgerError("the ledger states no budget")
        return self._budget

    @property
    def public_key(self) -> PublicKey:
        """The key that signed every entry.

        Raises:
            LedgerError: There is no entry.
        """
        return PublicKey.from_hex(self.opened.public_key)

    @property
    def accounts(self) -> tuple[Account, ...]:
        """Accounts that anything was reserved of, the one charged last at the end."""
        return tuple(self._accounts)

    def digest_of(self, sequence: int) -> str | None:
        """Digest of an entry; None past the end."""
        return self._entries[sequence - 1][1] if 1 <= sequence <= len(self) else None

    def reservations(self, account: Account) -> dict[str, Reserved]:
        """What was reserved of an account, by the entry's digest."""
        return dict(self._accounts.get(account, {}))

    def unsettled(self, account: Account) -> dict[str, Reserved]:
        """What was reserved of an account and never left: a crash, a refusal, or a round that is under way."""
        return {digest: body for digest, body in self.reservations(account).items() if digest not in self._settled}

    def reservation(self, digest: str) -> Reserved | None:
        """What an entry reserved; None where no reservation has the digest."""
        return self._reservations.get(digest)

    def has_paid(self, digest: str) -> bool:
        """Whether a reservation has the digest, or stands in the place of one that had it and was lost."""
        return digest in self._reservations or digest in self._recovered

    def has_drawn(self, context: str) -> bool:
        """Whether shared noise was reserved in this context."""
        return context in self._contexts

    def has_left(self, digest: str) -> bool:
        """Whether what an entry reserved, or a lost one had reserved, has left."""
        return digest in self._settled or digest in self._recovered

    def is_settled(self, digest: str) -> bool:
        """Whether what an entry reserved has left."""
        return digest in self._settled


def _refuse_more_than_is_shared(body: Reserved) -> None:
    """Return where an event's noise is no more than what its own and shared parts are worth, but for rounding."""
    shared, event = body.shared, body.event
    if shared is None:
        return
    if isinstance(event, DiscreteLaplace) or event.noise_multiplier > shared.guaranteed * (1 + _ROUNDING):
        raise LedgerError("it states more noise than what is shared and its own are worth together")


def _key_of(entry: Entry) -> PublicKey:
    """The key that the first entry names.

    Raises:
        LedgerError: The entry names none, or the ledger is of another format.
    """
    body = entry.body
    if not isinstance(body, Opened):
        raise LedgerError("a ledger begins with whose it is, and says so once")
    if body.format != FORMAT:
        raise LedgerError(f"the ledger has format {body.format}, and this version reads {FORMAT}")
    try:
        return PublicKey.from_hex(body.public_key)
    except TrustError as error:
        raise LedgerError(str(error)) from error
