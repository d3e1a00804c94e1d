"""What a run would leave of a hospital's budget; the ledger is read, not opened, and not made where there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from client.data.identity import dataset_digest
from client.ledger.lost import refuse_forgetful, releases_in
from client.policy.site_schema import SiteConfig
from client.state_folder import LEDGER_FILE
from common.ledger.books import Books
from common.ledger.entries import HELD_OUT, TRAINING, Account, Budget
from common.ledger.read import read_books
from common.ledger.spending import spending_of
from common.privacy.events import Event


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """The budget of one cohort of patients, before and after a run.

    Unit of privacy: the patient. Neighbouring relation: add or remove one patient.

    Attributes:
        cohort: Whose: training or held-out patients.
        spent: Epsilon of all that was reserved.
        cost_alone: Epsilon of the run alone, if everybody that noise is shared with told the server what they know.
        cost: Epsilon of the run alone; 0 without a run, or where it reserves nothing of this cohort.
        after: Epsilon after the run: events compose, so less than the sum of the two.
        remaining: Epsilon left after it, not below 0.
        refusal: Which cap it is over; None where it fits.
    """

    cohort: str
    spent: float
    cost: float
    cost_alone: float
    after: float
    remaining: float
    refusal: str | None


@dataclass(frozen=True, kw_only=True)
class BudgetCheck:
    """A hospital's budget, as its ledger would judge it.

    Attributes:
        budget: The caps, and delta.
        cap: Epsilon of each cohort over all runs.
        has_ledger: Whether the site has a ledger yet; without one nothing was spent.
        num_other_data: Data sets of other names in the ledger: where these are the same patients under a new name,
            they have spent already.
        outlooks: Of each cohort.
    """

    budget: Budget
    cap: float
    has_ledger: bool
    num_other_data: int
    outlooks: tuple[Outlook, ...]

    @property
    def refusals(self) -> list[str]:
        """Why the ledger would not cover the run, cohort by cohort."""
        return [f"{outlook.cohort} patients: {outlook.refusal}" for outlook in self.outlooks if outlook.refusal]


def budget_of(site: SiteConfig) -> Budget:
    """What the hospital lets each cohort of its patients spend."""
    return Budget(
        epsilon=site.budget.epsilon,
        delta=site.budget.delta,
        epsilon_per_run=site.budget.epsilon_per_run,
        epsilon_alone=site.privacy.most_epsilon_alone,
    )


def accounts_of(site: SiteConfig) -> list[Account]:
    """The accounts of the hospital's data set, the training patients' first."""
    data = dataset_digest(site=site.site, name=site.data.name)
    return [Account(dataset_digest=data, cohort=cohort) for cohort in (TRAINING, HELD_OUT)]


def check_budget(
    site: SiteConfig,
    *,
    run: str,
    planned: Mapping[str, Sequence[Event]],
    planned_alone: Mapping[str, Sequence[Event]],
) -> BudgetCheck:
    """Add up what was spent, and what a run would add.

    Args:
        site: The hospital's own configuration.
        run: Digest of the run's configuration; what it has reserved already counts towards the cap for one run.
        planned: What it will reserve, by cohort.
        planned_alone: What that costs if everybody that noise is shared with told the server what they know.

    Raises:
        ConfigError: What lies at the ledger's place is no ledger.
        LedgerError: The ledger is damaged, or lacks what the site's own log notes.
    """
    path = site.state_folder / LEDGER_FILE
    budget, accounts = budget_of(site), accounts_of(site)
    has_ledger = path.exists()
    noted = releases_in(site.state_folder)  # before the ledger, which is always ahead of the log
    books = read_books(path) if has_ledger else Books()
    refuse_forgetful(path, books, noted)
    own = {account.dataset_digest for account in accounts}
    return BudgetCheck(
        budget=budget,
        cap=site.budget.epsilon,
        has_ledger=has_ledger,
        num_other_data=len({account.dataset_digest for account in books.accounts} - own),
        outlooks=tuple(
            _outlook(
                books,
                account,
                cap=site.budget.epsilon,
                budget=budget,
                run=run,
                planned=planned.get(account.cohort, ()),
                planned_alone=planned_alone.get(account.cohort, ()),
            )
            for account in accounts
        ),
    )


def _outlook(
    books: Books,
    account: Account,
    *,
    cap: float,
    budget: Budget,
    run: str,
    planned: Sequence[Event],
    planned_alone: Sequence[Event],
) -> Outlook:
    reserved = books.reservations(account).values()
    after = spending_of(reserved, budget=budget, run=run, more=planned, more_alone=planned_alone)
    cost = spending_of((), budget=budget, run=run, more=planned, more_alone=planned_alone)
    return Outlook(
        cohort=account.cohort,
        spent=spending_of(reserved, budget=budget, run=run).total,
        cost=cost.total,
        cost_alone=cost.alone,
        after=after.total,
        remaining=max(0.0, cap - after.total),
        refusal=after.excess if planned else None,
    )
