"""A site's ledger: what was spent of its patients' privacy, on the disk before any noise is drawn.

The order that makes the stated epsilon true: `reserve`, then draw the noise, then `settle`, then let the release out.
A reservation counts from the moment `reserve` returns, settled or not: a crash can waste budget and never regain it.
What was not reserved cannot be settled, and what was not settled does not leave. Processes and threads on one ledger
see each other's reservations and cannot overspend together. Whatever goes wrong is a `LedgerError`, and nothing is
released.

What an entry holds, and how anyone checks a ledger from its file alone: `common/ledger/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from client.ledger.file import LedgerFile
from common.errors import BudgetExhausted, ContextReused, LedgerError
from common.ledger.books import Books, Head
from common.ledger.entries import (
    Account,
    Body,
    Budget,
    BudgetStated,
    Opened,
    Recovered,
    Reserved,
    Settled,
    SharedNoise,
)
from common.ledger.head_file import check_against_head_file, head_file_of, read_head
from common.ledger.spending import Statement, spending_of, statement_of
from common.privacy.events import Event, event_as_json, event_from_json
from common.trust.keys import SigningKey

__all__ = ["Account", "Budget", "Head", "Ledger", "Reservation", "Statement"]


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """Leave to draw noise for one release.

    Attributes:
        entry: Digest of the ledger's entry; the release carries it.
        epsilon: Spent of the account, this reservation included.
    """

    entry: str
    epsilon: float


class Ledger:
    """One site's ledger, open. Threads may share it; a process that forks must open its own."""

    def __init__(self, file: LedgerFile) -> None:
        self._file = file

    @classmethod
    def open(cls, path: Path, *, site: str, key: SigningKey, budget: Budget) -> Ledger:
        """Open a site's ledger, and create it where there is none.

        A budget other than the one that the ledger states is written into it, and holds from then on for every
        process that has the ledger open.

        Raises:
            LedgerError: The file is damaged, an older copy, another site's, signed with another key, or cannot be
                written; or it is gone, and its head file says that there was one.
        """
        # In this order: a head is written behind its ledger, by another process perhaps just now.
        if read_head(path) is not None and not path.exists():
            _refuse_lost(path)
        file = LedgerFile(path, key)

        def introduce(books: Books) -> list[Body]:
            _refuse_other_than(books, path, site=site, key=key)
            opened = [] if len(books) else [Opened(site=site, public_key=key.public.hex)]
            stated = [] if len(books) > 1 and books.budget == budget else [BudgetStated(budget=budget)]
            return [*opened, *stated]

        try:
            file.append(introduce)
        except BaseException:
            file.close()
            raise
        return cls(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was written is on the disk already."""
        self._file.close()

    def reserve(
        self,
        account: Account,
        *,
        run: str,
        round_number: int,
        release: str,
        event: Event,
        shared: SharedNoise | None = None,
    ) -> Reservation:
        """Charge an account for a release whose noise is not drawn yet; on the disk before this returns.

        Args:
            account: Whose privacy it spends.
            run: Digest of the run's configuration.
            round_number: The round.
            release: Name of what is to be released.
            event: What it costs.
            shared: How its noise is made where part of it is shared with other sites.

        Raises:
            BudgetExhausted: It does not fit. Nothing was written.
            ContextReused: The shared noise was reserved before. Nothing was written.
            LedgerError: The event's numbers cannot be, or it could not be written for certain; it may count as
                spent all the same.
        """
        as_read_back = event_from_json(event_as_json(event))
        wanted = Reserved(
            account=account, run=run, round_number=round_number, release=release, event=as_read_back, shared=shared
        )
        spent: list[float] = []

        def charge(books: Books) -> list[Body]:
            if shared is not None and books.has_drawn(shared.context):
                raise ContextReused(
                    f"round {round_number}: its shared noise was reserved before; the server's task is an old one"
                )
            known = books.reservations(account).values()
            after = spending_of(known, budget=books.budget, run=run, more=[event], more_alone=[wanted.event_alone])
            if after.excess is not None:
                raise BudgetExhausted(_refusal(books, wanted, after.excess))
            spent.append(after.total)
            return [wanted]

        head = self._file.append(charge)
        return Reservation(entry=head.digest, epsilon=spent[0])

    def settle(self, entry: str, *, run: str, round_number: int, release: str, event: Event) -> None:
        """Note that what was reserved leaves now. Only when this has returned, let it go.

        Args:
            entry: Digest that `reserve` gave.
            run: Digest of the run's configuration.
            round_number: The round.
            release: Name of what leaves.
            event: What it costs.

        Raises:
            LedgerError: Nothing was reserved under this digest, or something else, or it left before; or it could
                not be written.
        """

        def check(books: Books) -> list[Body]:
            reserved = books.reservation(entry)
            if reserved is None:
                raise LedgerError(f"{release!r} of round {round_number} was not reserved in the ledger")
            asked = (run, round_number, release, event)
            if (reserved.run, reserved.round_number, reserved.release, reserved.event) != asked:
                raise LedgerError(f"{release!r} of round {round_number} is not what the ledger reserved for it")
            if books.is_settled(entry):
                raise LedgerError(f"{release!r} of round {round_number} was reserved once, and has left already")
            return [Settled(reservation=entry)]

        self._file.append(check)

    def recover(self, lost: Sequence[Recovered]) -> None:
        """Charge what the site's audit log proves and the ledger lost, whatever the budget says; once each.

        Raises:
            LedgerError: It could not be written.
        """
        self._file.append(lambda books: [body for body in lost if not books.has_paid(body.lost)])

    def would_exceed(self, account: Account, *, run: str, events: Sequence[Event]) -> bool:
        """Whether these events of a run would not fit any more; nothing is written.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        with self._file.reading() as books:
            known = books.reservations(account).values()
            return spending_of(known, budget=books.budget, run=run, more=events).excess is not None

    def spent(self, account: Account) -> Statement:
        """What an account has spent.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        with self._file.reading() as books:
            return statement_of(books, account, budget=books.budget)

    def head(self) -> Head:
        """The last entry's number, digest and signature.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        with self._file.reading() as books:
            return books.head


def _refuse_other_than(books: Books, path: Path, *, site: str, key: SigningKey) -> None:
    """Return where the books are this site's, by this key, and the newest that the head file knows of."""
    if len(books) == 0:
        _refuse_lost(path)
        return
    if books.opened.site != site:
        raise LedgerError(f"{path}: is the ledger of {books.opened.site!r}, not of {site!r}")
    if books.public_key != key.public:
        raise LedgerError(f"{path}: was signed with another key than the site's; restore the site's key")
    remembered = read_head(path)
    if remembered is not None:
        check_against_head_file(path, books, remembered)
    elif books.accounts:
        raise LedgerError(
            f"{head_file_of(path)}: is missing, so an older copy of the ledger could not be told from the newest; "
            "restore it from any backup, an older one will do"
        )


def _refuse_lost(path: Path) -> None:
    """Return where no head file says that there was a ledger: an empty one would forget what was spent."""
    remembered = read_head(path)
    if remembered is not None:
        raise LedgerError(
            f"{path}: is gone, and {head_file_of(path)} remembers {remembered.sequence} entries; "
            "restore the ledger, nothing is released until then"
        )


def _refusal(books: Books, wanted: Reserved, excess: str) -> str:
    account = wanted.account
    spent = statement_of(books, account, budget=books.budget).epsilon
    return (
        f"{books.opened.site}: the privacy budget of the {account.name} does not cover "
        f"{wanted.release!r} of round {wanted.round_number}: epsilon {spent:.4g} is spent, "
        f"and this would make it {excess}; "
        "agree to fewer rounds or more noise, or raise the budget in the site's policy"
    )
