"""The stated epsilon is true: recomputed from each ledger, and held against what the report and the policy state.

Unit of privacy: the patient. Neighbouring relation: add or remove one patient. The ledger counts what was reserved, the
report what the server asked for. A hospital that refused reserved less, so the report may state more; where it states
less, the report does not hold.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from common.errors import CannotTell, CheckFailed
from common.ledger.audit import LedgerAudit
from common.ledger.entries import HELD_OUT, TRAINING
from common.privacy.accountant import epsilon_of
from common.privacy.events import Event
from simulations.audits.promises.answers import Check, Promise, checked
from simulations.audits.promises.opened import Opened

_ROUNDING = 1e-3
"""Relative: grids of two ways to compose the same events."""


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What the patients of one account have spent, recomputed. Unit: the patient; neighbours: add or remove one.

    Attributes:
        site: The hospital.
        cohort: `train` or `held_out`.
        epsilon: Over all runs.
        epsilon_of_run: Of this run alone.
        epsilon_alone: Over all runs, if everybody that noise was shared with told the server what they know.
        delta: At which all of it is stated.
        cap: Over all runs; None without a cap.
        remaining: Under the cap.
    """

    site: str
    cohort: str
    epsilon: float
    epsilon_of_run: float
    epsilon_alone: float
    delta: float
    cap: float | None
    remaining: float | None


def spent(opened: Opened) -> tuple[Spent, ...]:
    """Every account of every ledger that holds."""
    return tuple(
        Spent(
            site=site,
            cohort=account.statement.account.cohort,
            epsilon=account.statement.epsilon,
            epsilon_of_run=epsilon_of(
                _events(audit, run=opened.run, cohort=account.statement.account.cohort), delta=account.statement.delta
            ),
            epsilon_alone=account.statement.epsilon_alone,
            delta=account.statement.delta,
            cap=account.statement.cap,
            remaining=account.statement.remaining,
        )
        for site, audit in sorted(opened.ledgers.items())
        for account in audit.accounts
    )


def checks(opened: Opened) -> Iterator[Check]:
    """What the report states of each hospital, held against its ledger, and the ledger's cap against `site.yaml`."""
    command = f"wardround audit all {shlex.quote(str(opened.handed.run))}"
    for site in opened.sites:
        policy = [opened.policy_of[site].path] if site in opened.policy_of else []
        yield checked(
            f"epsilon in the report of {site}",
            partial(_check_stated, opened, site),
            promises=(Promise.EPSILON,),
            files=(opened.summary.path,) if opened.summary.path.is_file() else (),
            command=command,
            claimed_epsilon=_number(_stated(opened, site).get("epsilon")),
        )
        if policy:
            yield checked(
                f"budget of {site}",
                partial(_check_budget, opened, site),
                promises=(Promise.EPSILON,),
                files=policy,
                command=f"wardround site budget --config {shlex.quote(str(policy[0]))}",
            )


def _check_stated(opened: Opened, site: str) -> str:
    """The report states no less than the ledger's events of this run come to, at the report's own delta."""
    stated = opened.summary.needed()["sites"].get(site)
    if stated is None:
        raise CannotTell(f"{opened.summary.path}: says nothing of {site}")
    path = opened.summary.path
    if stated["epsilon"] is None:
        raise CannotTell(f"{path}: states no epsilon of {site}: the run trained without noise")
    audit = opened.ledger_of(site)
    figures = (
        (TRAINING, stated["epsilon"], stated["delta"], "training"),
        (HELD_OUT, _held_out(opened, stated), audit.books.budget.delta, "held-out"),
    )
    said = []
    for cohort, claimed, delta, words in figures:
        events = _events(audit, run=opened.run, cohort=cohort)
        if claimed is None and events:
            raise CheckFailed(f"{path}: states nothing of {site}'s {words} patients, and its ledger charged them")
        found = epsilon_of(events, delta=delta)
        if claimed is not None and found > claimed * (1 + _ROUNDING) + _ROUNDING:
            raise CheckFailed(
                f"{path}: states epsilon {claimed:.3f} of {site}'s {words} patients, and its ledger charged "
                f"{found:.3f} for this run"
            )
        if claimed is not None:
            said.append(f"{words} patients: {claimed:.3f} stated, {found:.3f} by the ledger")
    return "; ".join(said)


def _held_out(opened: Opened, stated: Mapping[str, Any]) -> float | None:
    """What the report states of held-out patients: for the figures of all, and for those by group beside it."""
    groups = opened.summary.needed().get("groups_noise")
    told = [stated.get("statistics_epsilon"), groups["epsilon"] if groups else None]
    parts = [float(part) for part in told if part is not None]
    return sum(parts) if parts else None


def _check_budget(opened: Opened, site: str) -> str:
    """The ledger's cap is the one that the hospital's own file states."""
    part = opened.policy_of[site]
    asked, kept = part.needed().budget, opened.ledger_of(site).books.budget
    if (asked.epsilon, asked.delta, asked.epsilon_per_run) != (kept.epsilon, kept.delta, kept.epsilon_per_run):
        raise CheckFailed(
            f"{part.path}: states a budget of epsilon {asked.epsilon:g} ({asked.epsilon_per_run:g} a run), and the "
            f"ledger kept to {kept.epsilon} ({kept.epsilon_per_run} a run); ask whether it was changed since"
        )
    return f"epsilon {asked.epsilon:g} over all runs and {asked.epsilon_per_run:g} for one, in file and ledger"


def _stated(opened: Opened, site: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (opened.summary.value or {}).get("sites", {}).get(site, {})
    return found


def _number(value: Any) -> float | None:  # noqa: ANN401 - any JSON value
    return float(value) if isinstance(value, int | float) else None


def _events(audit: LedgerAudit, *, run: str | None, cohort: str) -> Sequence[Event]:
    """What a ledger reserved of a cohort's patients for one run."""
    books = audit.books
    return [
        body.event
        for account in books.accounts
        if account.cohort == cohort
        for body in books.reservations(account).values()
        if body.run == run
    ]
