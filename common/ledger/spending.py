"""What an account has spent, and whether more fits into its budget.

Guarantee: all that was released of an account is (epsilon, delta)-differentially private. Unit of privacy: the
patient. Neighbouring relation: add or remove one patient. Every reservation counts, whether or not anything followed
it. The per-run cap composes the events of one run alone.

Edge cases: nothing reserved is epsilon 0; a release without noise is infinity, which fits only where there is no cap.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from common.ledger.books import Books, Head
from common.ledger.entries import Account, Budget, Reserved
from common.privacy.accountant import epsilon_of
from common.privacy.events import Event


@dataclass(frozen=True, kw_only=True)
class Spending:
    """Epsilon of an account, at the budget's delta.

    Attributes:
        total: Over all runs.
        of_run: Of the run in question alone.
        alone: Over all runs, if everybody that noise was shared with told the server what they know.
        budget: What it is held against.
    """

    total: float
    of_run: float
    alone: float
    budget: Budget

    @property
    def excess(self) -> str | None:
        """Which cap it is over, in words; None where it fits."""
        caps = {
            "all runs": (self.total, self.budget.epsilon),
            "one run": (self.of_run, self.budget.epsilon_per_run),
            "all runs, should every other site collude": (self.alone, self.budget.epsilon_alone),
        }
        for what, (epsilon, cap) in caps.items():
            if cap is not None and not epsilon <= cap:  # so that NaN is over it
                return f"epsilon {epsilon:.4g} where the cap for {what} is {cap:g}, at delta {self.budget.delta:g}"
        return None


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What an account has spent. Unit of privacy: the patient. Neighbouring relation: add or remove one patient.

    Attributes:
        account: Whose privacy.
        epsilon: Spent, of all that was reserved.
        epsilon_alone: The same, if everybody that noise was shared with told the server what they know.
        delta: Delta at which epsilon is stated.
        cap: Greatest epsilon over all runs; None without a cap.
        remaining: Epsilon left under the cap, not below 0; None without a cap.
        num_reserved: Reservations, settled or not.
        num_settled: How many of them left the site.
        head: The ledger's head that this was read at; None where it has no entry yet.
    """

    account: Account
    epsilon: float
    epsilon_alone: float
    delta: float
    cap: float | None
    remaining: float | None
    num_reserved: int
    num_settled: int
    head: Head | None

    @property
    def alone_in_words(self) -> str | None:
        """What would be spent if shared noise hid nothing; None where none was shared."""
        if self.epsilon_alone == self.epsilon:
            return None
        return (
            f"The {self.account.name}: epsilon {self.epsilon_alone:.3f} if every hospital that noise was shared with "
            "told the server what it knows"
        )


def spending_of(
    reserved: Iterable[Reserved],
    *,
    budget: Budget,
    run: str,
    more: Sequence[Event] = (),
    more_alone: Sequence[Event] | None = None,
) -> Spending:
    """What an account's reservations spend, with `more` events of `run` beside them.

    Args:
        reserved: What was reserved of the account.
        budget: What it is held against.
        run: The run in question.
        more: What it would reserve now.
        more_alone: What that costs if everybody that noise is shared with colludes; None where it is the same.
    """
    known = list(reserved)
    of_run = [body.event for body in known if body.run == run]
    added_alone = more if more_alone is None else more_alone
    return Spending(
        total=epsilon_of([*(body.event for body in known), *more], delta=budget.delta),
        of_run=epsilon_of([*of_run, *more], delta=budget.delta),
        alone=epsilon_of([*(body.event_alone for body in known), *added_alone], delta=budget.delta),
        budget=budget,
    )


def statement_of(books: Books, account: Account, *, budget: Budget) -> Statement:
    """What an account has spent, held against a budget."""
    reserved = books.reservations(account)
    epsilon, alone = (
        epsilon_of(events, delta=budget.delta)
        for events in (
            [body.event for body in reserved.values()],
            [body.event_alone for body in reserved.values()],
        )
    )
    return Statement(
        account=account,
        epsilon=epsilon,
        epsilon_alone=alone,
        delta=budget.delta,
        cap=budget.epsilon,
        remaining=None if budget.epsilon is None else max(budget.epsilon - epsilon, 0.0),
        num_reserved=len(reserved),
        num_settled=len(reserved) - len(books.unsettled(account)),
        head=books.head if len(books) else None,
    )
