"""`wardround site budget`: what a hospital's patients have spent, and what a run would cost them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from client.check.budget import accounts_of, budget_of
from client.ledger.lost import refuse_forgetful, releases_in
from client.policy.site_config import load_site_config
from client.state_folder import KEY_FILE, LEDGER_FILE
from common.config.load import config_digest, read_run_config
from common.config.schema import RunConfig
from common.console import Terminal
from common.errors import BudgetExhausted, ConfigError
from common.ledger.books import Books
from common.ledger.entries import Account, Budget
from common.ledger.read import read_books
from common.ledger.spending import Spending, Statement, spending_of, statement_of
from common.privacy.bands import band_of
from common.privacy.events import NEIGHBORING_RELATION, UNIT_OF_PRIVACY, Event
from common.trust.keys import SigningKey


@dataclass(frozen=True, kw_only=True)
class Spent:
    """A hospital's accounts.

    Attributes:
        site: The hospital's name.
        ledger: The ledger's file.
        budget: What each account may spend.
        statements: What each has spent.
        books: The ledger; without an entry where there is none yet.
    """

    site: str
    ledger: Path
    budget: Budget
    statements: tuple[Statement, ...]
    books: Books


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What a run would cost the patients of one cohort.

    Attributes:
        account: Theirs.
        cost: Epsilon of the run alone.
        after: What the account would have spent, and what of it in this run; events compose, so this is less than the
            sum of the two.
    """

    account: Account
    cost: float
    after: Spending


def budget_command(
    *,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="The hospital's own site.yaml.")] = None,
    ledger: Annotated[
        Path | None, typer.Option(metavar="PATH", help="A ledger's file, in place of the site.yaml.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A run's config.yaml: what would it cost, and does it fit?")
    ] = None,
    patients: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Training patients, where the run's privacy.delta follows from them."),
    ] = None,
    as_object: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
) -> None:
    """Show what a hospital's patients have spent, and what a run would cost them.

    Nothing is written or spent.
    Exits with 0, with 3 where the run does not fit, and with 4 where the ledger is damaged.
    """
    spent = _of_ledger(ledger) if ledger is not None and config is None else _of_config(config, ledger)
    if run is not None and config is None:
        raise ConfigError("--run: needs --config, which says whose budget the run would spend")
    outlooks = [] if run is None else _outlooks(spent, run, patients)
    if as_object:
        typer.echo(json.dumps(_as_json(spent, outlooks), indent=2, allow_nan=False))
    else:
        _show(spent, outlooks, Terminal())
    for outlook in outlooks:
        if outlook.after.excess is not None:
            raise BudgetExhausted(
                f"{run}: does not fit: the {outlook.account.name} would come to {outlook.after.excess}"
            )


def _of_config(path: Path | None, ledger: Path | None) -> Spent:
    """The accounts of the data set that a site.yaml names, each with nothing spent where the ledger knows it not."""
    if path is None or ledger is not None:
        raise ConfigError("give --config site.yaml or --ledger PATH, one of the two")
    site = load_site_config(path)
    file, key = site.state_folder / LEDGER_FILE, site.state_folder / KEY_FILE
    noted = releases_in(site.state_folder)  # before the ledger, which is always ahead of the log
    books = (
        read_books(file, public_key=SigningKey.load(key).public if key.exists() else None) if file.exists() else Books()
    )
    refuse_forgetful(file, books, noted)
    accounts = list(dict.fromkeys([*accounts_of(site), *books.accounts]))
    return _spent(site.site, file, books, budget_of(site), accounts)


def _of_ledger(path: Path) -> Spent:
    books = read_books(path)
    return _spent(books.opened.site, path, books, books.budget, books.accounts)


def _spent(site: str, ledger: Path, books: Books, budget: Budget, accounts: Sequence[Account]) -> Spent:
    statements = tuple(statement_of(books, account, budget=budget) for account in accounts)
    return Spent(site=site, ledger=ledger, budget=budget, statements=statements, books=books)


def _outlooks(spent: Spent, path: Path, patients: int | None) -> list[Outlook]:
    """What a run would cost each cohort that it asks something of, the training patients first."""
    run = read_run_config(path)
    digest, outlooks = config_digest(run), []
    # Those of the site.yaml's own data set come first, and count before any other's.
    of_cohort = {statement.account.cohort: statement.account for statement in reversed(spent.statements)}
    for cohort, events in _planned(run, path, patients).items():
        account = of_cohort[cohort]
        reserved = spent.books.reservations(account).values()
        cost = spending_of((), budget=spent.budget, run=digest, more=events).total
        after = spending_of(reserved, budget=spent.budget, run=digest, more=events)
        outlooks.append(Outlook(account=account, cost=cost, after=after))
    return outlooks


def _planned(run: RunConfig, path: Path, patients: int | None) -> dict[str, list[Event]]:
    """What a run would reserve of each cohort, over all rounds.

    Raises:
        ConfigError: The run is not private, or its noise follows from a number of patients that was not given.
    """
    # They wait for torch, and only a run needs them.
    from client.check.planned import planned_events
    from common.losses.interface import Coupling
    from common.privacy.plan import privacy_plan, private_coupling

    if run.privacy.epsilon is None:
        raise ConfigError(f"{path}: privacy.epsilon is null, and no budget covers a run without privacy")
    if patients is None and (run.privacy.delta is None or private_coupling(run) is Coupling.PAIRS):
        raise ConfigError(
            f"{path}: its noise follows from the number of training patients, for privacy.delta is null or loss.name "
            "couples pairs: give it with --patients, or use wardround site check, which counts them"
        )
    planned = planned_events(run, privacy_plan(run, band_of(patients or 1)))
    return {cohort: events for cohort, events in planned.items() if events}


def _as_json(spent: Spent, outlooks: Sequence[Outlook]) -> dict[str, Any]:
    """Everything; null stands for an infinite epsilon, and for a cap or a head that there is not."""
    head = spent.books.head if len(spent.books) else None
    return {
        "site": spent.site,
        "ledger": str(spent.ledger),
        "entries": len(spent.books),
        "head": head and {**asdict(head), "signature": head.signature.hex()},
        "budget": asdict(spent.budget),
        "unit_of_privacy": UNIT_OF_PRIVACY,
        "neighboring_relation": NEIGHBORING_RELATION,
        "accounts": [_account_as_json(statement) for statement in spent.statements],
        "run": [_outlook_as_json(outlook) for outlook in outlooks],
    }


def _outlook_as_json(outlook: Outlook) -> dict[str, Any]:
    return {
        **asdict(outlook.account),
        "cost": _finite(outlook.cost),
        "epsilon_after": _finite(outlook.after.total),
        "epsilon_of_run_after": _finite(outlook.after.of_run),
        "fits": outlook.after.excess is None,
    }


def _account_as_json(statement: Statement) -> dict[str, Any]:
    said = asdict(statement)
    del said["head"]
    return {
        **said.pop("account"),
        **said,
        "epsilon": _finite(statement.epsilon),
        "epsilon_alone": _finite(statement.epsilon_alone),
        "num_unsettled": statement.num_reserved - statement.num_settled,
    }


def _finite(epsilon: float) -> float | None:
    return epsilon if math.isfinite(epsilon) else None


def _show(spent: Spent, outlooks: Sequence[Outlook], console: Console) -> None:
    table = Table(title=f"Privacy budget of {spent.site} (unit: the patient; neighbours: add or remove one patient)")
    for column in ("patients", "spent", "remaining", "cap", "reserved", "not settled"):
        table.add_column(column, justify="left" if column == "patients" else "right")
    for statement in spent.statements:
        table.add_row(
            statement.account.name,
            f"{statement.epsilon:.3f}",
            "no cap" if statement.remaining is None else f"{statement.remaining:.3f}",
            "no cap" if statement.cap is None else f"{statement.cap:g}",
            str(statement.num_reserved),
            str(statement.num_reserved - statement.num_settled),
        )
    console.print(table)
    for line in _lines(spent, outlooks):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _lines(spent: Spent, outlooks: Sequence[Outlook]) -> list[str]:
    per_run = spent.budget.epsilon_per_run
    lines = [
        f"Delta: {spent.budget.delta:g}",
        f"Cap for one run: {'none' if per_run is None else f'{per_run:g}'}",
        f"Ledger: {spent.ledger}, {len(spent.books)} entries" + ("" if len(spent.books) else "; there is none yet"),
    ]
    lines += [line for statement in spent.statements if (line := statement.alone_in_words) is not None]
    if len(spent.books):
        lines.append(f"Head: {spent.books.head.digest}")
    for outlook in outlooks:
        fits = "it fits" if outlook.after.excess is None else "it does not fit"
        lines.append(
            f"The run, {outlook.account.cohort} patients: epsilon {outlook.cost:.3f} alone, "
            f"{outlook.after.total:.3f} spent after it; {fits}"
        )
    return lines
