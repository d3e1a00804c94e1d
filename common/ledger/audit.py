"""What an auditor learns from a ledger that was checked: what each account spent, and whether it was let.

Each reservation is held against the budget that stood in the ledger when it was made. A hospital that lowers its
budget later does not make what it agreed to before wrong.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from common.ledger.books import Books
from common.ledger.entries import Account, Budget, BudgetStated, Reserved
from common.ledger.spending import Statement, spending_of, statement_of
from common.privacy.cross_check import Spent, spent_by


@dataclass(frozen=True, kw_only=True)
class AccountAudit:
    """One account, recomputed.

    Attributes:
        statement: What it spent, as the site counts it.
        spent: The same, vouched for by two accountants, and for replacing one patient too.
        unsettled: Reservations that nothing followed, by the entry's digest.
    """

    statement: Statement
    spent: Spent
    unsettled: dict[str, Reserved]


@dataclass(frozen=True, kw_only=True)
class LedgerAudit:
    """A ledger, recomputed from its file.

    Attributes:
        books: Its entries, checked.
        accounts: What each account spent, the one charged last at the end.
        overspent: In words, each time that more was reserved than the budget of the time let.
    """

    books: Books
    accounts: tuple[AccountAudit, ...]
    overspent: tuple[str, ...]


def audit_ledger(books: Books) -> LedgerAudit:
    """Recompute what a ledger's entries add up to.

    Raises:
        AccountingError: The two accountants disagree.
    """
    return LedgerAudit(
        books=books,
        accounts=tuple(_account_audit(books, account) for account in books.accounts),
        overspent=tuple(_overspent(books)),
    )


def _account_audit(books: Books, account: Account) -> AccountAudit:
    events = [body.event for body in books.reservations(account).values()]
    return AccountAudit(
        statement=statement_of(books, account, budget=books.budget),
        spent=spent_by(events, delta=books.budget.delta),
        unsettled=books.unsettled(account),
    )


def _overspent(books: Books) -> list[str]:
    """Epsilon only grows while a budget stands, so each account is looked at when the next budget is stated."""
    reserved: defaultdict[Account, list[Reserved]] = defaultdict(list)
    charged: dict[tuple[Account, str], None] = {}
    found: list[str] = []
    budget: Budget | None = None

    def close() -> None:
        for account, run in charged:
            if budget is not None:
                excess = spending_of(reserved[account], budget=budget, run=run).excess
                if excess is not None:
                    found.append(f"{account.name}, run {run[:12]}: {excess}")
        charged.clear()

    for entry in books:
        if isinstance(entry.body, BudgetStated):
            close()
            budget = entry.body.budget
        elif isinstance(entry.body, Reserved):
            reserved[entry.body.account].append(entry.body)
            charged[(entry.body.account, entry.body.run)] = None
    close()
    return found
