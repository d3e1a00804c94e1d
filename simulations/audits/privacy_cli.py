"""`wardround audit privacy`: attacks on the running code, with the bound beside each claim."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from client.audits.page import check_page
from common.config.load import config_digest, load_config
from common.console import Terminal
from common.errors import CheckFailed, ConfigError
from simulations.audits.privacy.interface import CHECKS, QUICK, Check, Outcome
from simulations.audits.privacy.page import write_page
from simulations.audits.privacy.pipeline import PRODUCTION
from simulations.audits.privacy.subject import Subject, prepare_subject
from simulations.audits.privacy.words import headline, verdict

SCENARIO = "audit"
_MARKS = {True: "[green]holds[/green]", False: "[red]does not hold[/red]", None: "[yellow]cannot tell[/yellow]"}


def privacy_command(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Config keys to set; configs/base.yaml lists them all."),
    ] = None,
    *,
    scenario: Annotated[
        str, typer.Option(help="Lay configs/scenarios/NAME.yaml over the base; audit is a small cohort.")
    ] = SCENARIO,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Run this check alone; may be given several times.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Only the checks that take less than two minutes together.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write claims, bounds and plots as a page.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcomes as one JSON object.")] = False,
) -> None:
    """Attack the running code, and print a bound beside each claim of privacy.

    The code is that of this installation; the run is the config's. Each check says what it measured, and how large a
    fault it would have seen here. That a check holds does not prove anything private: it says that this attack found
    nothing.

    Exits with 0 where no check fails, and with 1 where one does not hold.
    """
    names = _names(only or [], quick=quick)
    config = load_config(overrides or [], scenario=scenario)
    if config.privacy.epsilon is None:
        raise ConfigError("privacy.epsilon: null promises nothing that could be attacked; set privacy.epsilon=8")
    if report is not None:
        check_page(report)
    checks = [CHECKS.load(name) for name in names]
    logging.getLogger("wardround.site").setLevel(logging.CRITICAL)  # broken studies and refusals are what is tried
    with _progress() as progress:
        reading = progress.add_task("reading the studies", total=None)
        subject = prepare_subject(config, progress=lambda done: progress.update(reading, completed=done))
        progress.remove_task(reading)
        outcomes = list(_run(checks, subject, progress))
    if report is not None:
        write_page(outcomes, subject, report)
    if as_json:
        typer.echo(json.dumps(as_object(outcomes, subject), indent=2, allow_nan=False))
    else:
        show(outcomes, Terminal(markup=True))
    failed = [outcome.name for outcome in outcomes if outcome.holds is False]
    if failed:
        raise CheckFailed(f"{', '.join(failed)}: what is promised does not hold for this installation and config")


def as_object(outcomes: Sequence[Outcome], subject: Subject) -> dict[str, Any]:
    """The outcomes as one JSON object."""
    return {
        "config_digest": config_digest(subject.config),
        "unit_of_privacy": "patient",
        "neighboring_relation": "add_or_remove_one",
        "checks": [outcome.as_json() for outcome in outcomes],
    }


def show(outcomes: Sequence[Outcome], console: Terminal) -> None:
    """Print each check's question, what came of it, and what it would have seen."""
    console.print(f"\n[bold]{escape(headline(outcomes))}[/bold]")
    for outcome in outcomes:
        console.print(f"\n[bold]{escape(outcome.question)}[/bold] [dim]{outcome.name}, {outcome.seconds:.0f} s[/dim]")
        console.print(f"{_MARKS[outcome.holds]}: {escape(outcome.sentence)}")
        if outcome.claimed_epsilon is not None and outcome.lower_bound is not None:
            console.print(escape(verdict(outcome)))
        console.print(f"[dim]{escape(outcome.power)}[/dim]")


def _names(only: Sequence[str], *, quick: bool) -> list[str]:
    """The checks that are asked for, each known.

    Raises:
        ConfigError: A name is unknown.
    """
    for name in only:
        CHECKS.load(name)
    wanted = [*only, *(QUICK if quick else ())]
    return [name for name in CHECKS.names if name in wanted] if wanted else CHECKS.names


def _run(checks: Sequence[Check], subject: Subject, progress: Progress) -> Iterator[Outcome]:
    task = progress.add_task("attacking", total=len(checks))
    for check in checks:
        progress.update(task, description=check.question)
        yield check.outcome(PRODUCTION, subject)
        progress.advance(task)


def _progress() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Terminal(stderr=True),
        transient=True,
    )
