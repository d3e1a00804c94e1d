"""The books take an entry only where the rules hold, and add up what they took."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import LedgerError
from common.files import sha256_hex
from common.ledger.books import Books
from common.ledger.entries import Account, Body, Budget, BudgetStated, Opened, Reserved, Settled, StoredEntry
from common.trust.keys import SigningKey

Chain = Callable[..., list[StoredEntry]]


def test_books_add_up_what_was_reserved_and_settled(bodies: list[Body], chain: Chain) -> None:
    entries = chain(bodies)
    books = Books(entries)
    train, held_out = books.accounts
    assert (train.cohort, held_out.cohort) == ("train", "held_out")
    assert list(books.reservations(train).values()) == [bodies[2], bodies[4]]
    assert books.unsettled(train) == {entries[4].digest: bodies[4]}
    assert books.unsettled(held_out) == {}
    assert books.is_settled(entries[2].digest)
    assert not books.is_settled(entries[4].digest)
    assert books.reservation(entries[2].digest) == bodies[2]
    assert books.reservation(entries[3].digest) is None
    assert books.opened == bodies[0]
    assert [entry.body for entry in books] == bodies
    assert (books.head.sequence, books.head.digest, books.head.signature) == (
        7,
        entries[-1].digest,
        entries[-1].signature,
    )
    assert books.digest_of(3) == entries[2].digest
    assert books.digest_of(0) is None
    assert books.digest_of(8) is None


def test_last_charged_account_is_last(bodies: list[Body], chain: Chain) -> None:
    again = bodies[2]
    assert isinstance(again, Reserved)
    books = Books(chain([*bodies, replace(again, round_number=3)]))
    assert [account.cohort for account in books.accounts] == ["held_out", "train"]


def test_empty_books_have_no_head(chain: Chain) -> None:
    books = Books(chain([]))
    assert len(books) == 0
    for read in (lambda: books.head, lambda: books.budget, lambda: books.opened, lambda: books.public_key):
        with pytest.raises(LedgerError):
            read()


def test_budget_is_the_one_stated_last(bodies: list[Body], chain: Chain) -> None:
    smaller = Budget(epsilon=1.0, delta=1e-6)
    assert Books(chain([*bodies, BudgetStated(budget=smaller)])).budget == smaller


def test_any_changed_byte_is_caught_at_its_entry(bodies: list[Body], chain: Chain) -> None:
    entries = chain(bodies)
    for number, entry in enumerate(entries):
        changed = [
            replace(entry, record=entry.record[:-2] + bytes([entry.record[-2] ^ 1]) + entry.record[-1:]),
            replace(entry, record=entry.record + b" "),
            replace(entry, digest="0" * 64),
            replace(entry, signature=bytes([entry.signature[0] ^ 1]) + entry.signature[1:]),
            replace(entry, signature=b""),
        ]
        for wrong in changed:
            with pytest.raises(LedgerError, match=f"^entry {number + 1}: "):
                Books([*entries[:number], wrong, *entries[number + 1 :]])


def test_changed_content_with_its_digest_is_caught_by_the_signature(bodies: list[Body], chain: Chain) -> None:
    """A forger without the key: even the last entry, which no other one holds the digest of."""
    entries = chain(bodies)
    for number, entry in enumerate(entries[1:], start=1):
        record = entry.record.replace(b'"time":"2026', b'"time":"2027')
        assert record != entry.record
        forged = replace(entry, record=record, digest=sha256_hex(record))
        with pytest.raises(LedgerError, match=f"entry {number + 1}: the signature"):
            Books([*entries[:number], forged, *entries[number + 1 :]])


def test_missing_swapped_and_repeated_entries_are_caught(bodies: list[Body], chain: Chain) -> None:
    entries = chain(bodies)
    for number in range(len(entries) - 1):
        swapped = [*entries]
        swapped[number], swapped[number + 1] = swapped[number + 1], swapped[number]
        for wrong in (
            entries[:number] + entries[number + 1 :],
            swapped,
            entries[: number + 1] + entries[number:],
        ):
            with pytest.raises(LedgerError, match=rf"^entry ({number + 1}|{number + 2}): "):
                Books(wrong)


def test_entries_signed_anew_by_another_key_are_caught(bodies: list[Body], chain: Chain, tmp_path: Path) -> None:
    other = SigningKey.create(tmp_path / "other.pem")
    with pytest.raises(LedgerError, match=r"^entry 1: the signature"):
        Books(chain(bodies, signed_by=other))


def test_entries_of_another_ledger_of_the_same_key_do_not_fit(bodies: list[Body], chain: Chain) -> None:
    first = bodies[0]
    assert isinstance(first, Opened)
    ours, theirs = chain(bodies), chain([replace(first, site="south"), *bodies[1:3]])
    with pytest.raises(LedgerError, match=r"^entry 3: it does not follow"):
        Books([*ours[:2], theirs[2]])


def test_refused_entry_leaves_the_books_as_they_were(bodies: list[Body], chain: Chain) -> None:
    entries = chain(bodies)
    books = Books(entries[:4])
    with pytest.raises(LedgerError):
        books.add(entries[5])
    assert len(books) == 4
    for entry in entries[4:]:
        books.add(entry)
    assert books.head == Books(entries).head


def test_what_may_not_stand_where_it_stands_is_refused(bodies: list[Body], chain: Chain) -> None:
    opened, budget, reserved, settled = bodies[:4]
    first = chain(bodies)
    assert isinstance(opened, Opened)
    settled_before = Settled(reservation=first[1].digest)
    wrong: dict[str, list[Body]] = {
        "entry 1: a ledger begins": [budget],
        "entry 2: a ledger begins": [opened, opened],
        "entry 2: something is reserved before there is a budget": [opened, reserved],
        "entry 3: it settles what was never reserved": [opened, budget, settled_before],
        "entry 4: it settles what was never reserved": [opened, budget, reserved, Settled(reservation="0" * 64)],
        "entry 5: it settles what was settled before": [opened, budget, reserved, settled, settled],
        "entry 1: the ledger has format 2": [replace(opened, format=2)],
        "entry 1: a public key": [replace(opened, public_key="00")],
    }
    for says, order in wrong.items():
        with pytest.raises(LedgerError, match=f"^{says}"):
            Books(chain(order))


def test_accounts_are_told_apart_by_data_and_cohort(bodies: list[Body], chain: Chain) -> None:
    opened, budget, reserved = bodies[:3]
    assert isinstance(reserved, Reserved)
    accounts = [Account(dataset_digest=digest, cohort=cohort) for digest in "ab" for cohort in ("train", "held_out")]
    books = Books(chain([opened, budget, *(replace(reserved, account=account) for account in accounts)]))
    assert [len(books.reservations(account)) for account in accounts] == [1, 1, 1, 1]
