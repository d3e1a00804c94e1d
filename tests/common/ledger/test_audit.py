"""The audit recomputes each account, and holds each reservation against the budget of its time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from common.ledger.audit import audit_ledger
from common.ledger.books import Books
from common.ledger.entries import Account, Body, Budget, BudgetStated, Opened, Reserved, StoredEntry
from common.ledger.spending import spending_of, statement_of
from common.privacy.accountant import Relation, epsilon_of
from common.privacy.events import DiscreteLaplace, Event
from common.trust.keys import SigningKey

Chain = Callable[..., list[StoredEntry]]
HALF: Event = DiscreteLaplace(noise_scale=2.0, releases=1)
TRAIN = Account(dataset_digest="ab" * 32, cohort="train")


def half(*, run: str = "r", account: Account = TRAIN) -> Reserved:
    """Epsilon 0.5 at delta 0, and about that at a small delta."""
    return Reserved(account=account, run=run, round_number=1, release="update", event=HALF)


def stated(epsilon: float | None, per_run: float | None = None, delta: float = 1e-9) -> BudgetStated:
    return BudgetStated(budget=Budget(epsilon=epsilon, delta=delta, epsilon_per_run=per_run))


@pytest.fixture
def overspent(chain: Chain, key: SigningKey) -> Callable[..., tuple[str, ...]]:
    def found(*bodies: Body) -> tuple[str, ...]:
        books = Books(chain([Opened(site="north", public_key=key.public.hex), *bodies]))
        return audit_ledger(books).overspent

    return found


def test_audit_states_each_account_by_the_accountant(bodies: list[Body], chain: Chain) -> None:
    audit = audit_ledger(Books(chain(bodies)))
    train, held_out = audit.accounts
    training = [body.event for body in (bodies[2], bodies[4]) if isinstance(body, Reserved)]
    assert train.statement.epsilon == epsilon_of(training, delta=1e-5)
    assert train.spent.epsilon_replace_one == epsilon_of(training, delta=1e-5, relation=Relation.REPLACE_ONE)
    assert train.spent.epsilon_replace_one > train.statement.epsilon
    assert train.spent.epsilon == train.statement.epsilon
    assert train.spent.epsilon_by_prv == pytest.approx(train.statement.epsilon, rel=0.02)
    assert list(train.unsettled.values()) == [bodies[4]]
    assert held_out.statement.epsilon == pytest.approx(0.3, abs=1e-3)
    assert (held_out.statement.num_reserved, held_out.statement.num_settled) == (1, 1)
    assert audit.overspent == ()


def test_spend_within_the_budget_is_not_reported(overspent: Callable[..., tuple[str, ...]]) -> None:
    assert overspent(stated(1.1), half(), half()) == ()
    assert overspent(stated(None), *[half()] * 5) == ()
    assert overspent(stated(1.1)) == ()


def test_spend_over_the_budget_names_account_run_and_cap(overspent: Callable[..., tuple[str, ...]]) -> None:
    (found,) = overspent(stated(0.7), half(), half(run="run-of-two"))[:1]
    for word in ("train patients", "abababababab", "epsilon", "cap for all runs is 0.7", "1e-09"):
        assert word in found
    (found,) = overspent(stated(None, 0.7), half(), half(run="q"), half(run="q"))
    assert "run q" in found
    assert "cap for one run is 0.7" in found


def test_accounts_are_not_added_up(overspent: Callable[..., tuple[str, ...]]) -> None:
    assert overspent(stated(0.7), half(), half(account=replace(TRAIN, cohort="held_out"))) == ()


def test_budget_lowered_later_does_not_make_an_older_spend_wrong(overspent: Callable[..., tuple[str, ...]]) -> None:
    assert overspent(stated(1.1), half(), half(), stated(0.1)) == ()
    assert len(overspent(stated(1.1), half(), stated(0.1), half())) == 1


def test_budget_raised_later_does_not_make_an_older_spend_right(overspent: Callable[..., tuple[str, ...]]) -> None:
    assert len(overspent(stated(0.7), half(), half(), stated(9.0), half())) == 1


def test_spending_composes_the_run_alone_beside_all_runs() -> None:
    budget = Budget(epsilon=1.2, delta=1e-9, epsilon_per_run=0.6)
    known = [half(run="a"), half(run="b")]
    spending = spending_of(known, budget=budget, run="c", more=[])
    assert (spending.total, spending.of_run) == (pytest.approx(1.0, abs=1e-3), 0.0)
    assert spending.excess is None
    more = spending_of(known, budget=budget, run="c", more=[HALF])
    assert (more.total, more.of_run) == (pytest.approx(1.5, abs=1e-3), pytest.approx(0.5, abs=1e-3))
    assert more.excess is not None
    assert "all runs" in more.excess
    again = spending_of(known[:1], budget=budget, run="a", more=[HALF])
    assert again.excess is not None
    assert "one run" in again.excess


def test_epsilon_that_is_no_number_is_over_every_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.ledger.spending.epsilon_of", lambda *_, **__: float("nan"))
    assert spending_of([], budget=Budget(epsilon=1e9, delta=1e-9), run="r").excess is not None
    assert spending_of([], budget=Budget(epsilon=None, delta=1e-9), run="r").excess is None


def test_statement_of_an_account_that_nothing_is_known_of_is_zero() -> None:
    said = statement_of(Books(), TRAIN, budget=Budget(epsilon=2.0, delta=1e-5))
    assert (said.epsilon, said.remaining, said.num_reserved, said.head) == (0.0, 2.0, 0, None)
