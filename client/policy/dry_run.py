"""The dry run behind `wardround site check`: the data, each rule's verdict, and the budget after the run.

It reads and adds up; it writes nothing, and a ledger that is not there yet is not made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import time

from client.data.identity import dataset_digest
from client.policy.interface import RunRequest, Verdict
from client.policy.planned_arrays import planned_arrays
from client.policy.readiness import Progress, Readiness, examine
from client.policy.site_policy import policy_of
from client.policy.site_schema import SiteConfig
from common.config.load import config_digest
from common.config.schema import RunConfig
from common.errors import ConfigError
from common.ledger.books import Books
from common.ledger.entries import Account
from common.ledger.read import read_books
from common.privacy.accountant import epsilon_of
from common.privacy.events import Event
from common.privacy.plan import privacy_plan
from common.wire.update import ArrayPlan

LEDGER = "ledger.sqlite3"
COHORT = "train"
"""The ledger's name for the training patients."""


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """The training patients' budget, before and after a run.

    Unit of privacy: the patient. Neighbouring relation: add or remove one patient.

    Attributes:
        cap: Epsilon over all runs.
        delta: At which each epsilon here is stated.
        has_ledger: Whether the site has a ledger yet; without one nothing was spent.
        num_other_data: Data sets of other names in the ledger: where these are the same patients under a new name,
            they have spent already.
        spent: Epsilon of all that was reserved.
        cost: Epsilon of the run alone; None without a run, or where it is not private.
        after: Epsilon after the run: events compose, so less than the sum of the two; None likewise.
    """

    cap: float
    delta: float
    has_ledger: bool
    num_other_data: int
    spent: float
    cost: float | None
    after: float | None

    @property
    def remaining(self) -> float:
        """Epsilon left, after the run where there is one."""
        return max(0.0, self.cap - (self.spent if self.after is None else self.after))

    @property
    def refused(self) -> bool:
        """Whether the run does not fit."""
        return self.after is not None and not self.after <= self.cap  # so that NaN does not fit


@dataclass(frozen=True, kw_only=True)
class RunCheck:
    """What the policy says of a run.

    Attributes:
        config_digest: Digest to approve in `training.config_digests`.
        verdicts: Of each rule.
    """

    config_digest: str
    verdicts: Sequence[Verdict]

    @property
    def refusals(self) -> list[Verdict]:
        """The verdicts that refuse."""
        return [verdict for verdict in self.verdicts if verdict.refusal is not None]


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """Everything that a hospital wants to know before it joins.

    Attributes:
        site: The hospital's name.
        readiness: Its data.
        problems: Why data or budget cannot be used as they are; none where they can.
        run: The policy's verdicts; None without a run.
        budget: Before and after the run.
    """

    site: str
    readiness: Readiness
    problems: tuple[str, ...]
    run: RunCheck | None
    budget: Outlook


def dry_run(site: SiteConfig, run: RunConfig | None, *, local_time: time, progress: Progress) -> DryRun:
    """Examine the data, ask each rule, and add up the budget.

    Args:
        site: The hospital's own configuration.
        run: The run that it may join, or None.
        local_time: Time of day at which the run would start.
        progress: Called with the number of studies read so far.

    Raises:
        ConfigError: The run cannot be private as its config asks.
        DataError: The data cannot be read at all.
        LedgerError: The ledger is damaged.
    """
    readiness = examine(site.data, progress=progress)
    plan = None if run is None else privacy_plan(run, readiness.patients_band)
    events = () if plan is None else (plan.event,)
    check = None
    if run is not None:
        digest = config_digest(run)
        request = RunRequest(
            config=run,
            config_digest=digest,
            bundle_hash=None,
            events=events,
            rounds=run.federation.rounds,
            arrays=_arrays(run),
            device=run.device,
            local_time=local_time,
        )
        check = RunCheck(config_digest=digest, verdicts=policy_of(site).verdicts(request))
    return DryRun(
        site=site.site,
        readiness=readiness,
        problems=(*readiness.problems, *_delta_problem(site, readiness)),
        run=check,
        budget=_outlook(site, () if run is None else events * run.federation.rounds),
    )


def _arrays(run: RunConfig) -> ArrayPlan | None:
    try:
        return planned_arrays(run)
    except ConfigError:  # the encoder's weights are elsewhere: the gate measures the update that is made of them
        return None


def _delta_problem(site: SiteConfig, readiness: Readiness) -> list[str]:
    if site.budget.delta <= readiness.delta:
        return []
    return [
        f"budget.delta={site.budget.delta:g} is above {readiness.delta:.1e}, a tenth of one over the patients of band "
        f"{readiness.patients_band}; lower it"
    ]


def _outlook(site: SiteConfig, planned: Sequence[Event]) -> Outlook:
    path, delta = site.state_folder / LEDGER, site.budget.delta
    account = Account(dataset_digest=dataset_digest(site=site.site, name=site.data.name), cohort=COHORT)
    books = read_books(path) if path.exists() else Books()
    spent = [body.event for body in books.reservations(account).values()]
    return Outlook(
        cap=site.budget.epsilon,
        delta=delta,
        has_ledger=path.exists(),
        num_other_data=len({other.dataset_digest for other in books.accounts} - {account.dataset_digest}),
        spent=epsilon_of(spent, delta=delta),
        cost=epsilon_of(planned, delta=delta) if planned else None,
        after=epsilon_of([*spent, *planned], delta=delta) if planned else None,
    )
