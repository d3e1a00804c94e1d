"""`wardround site check`: its options, and the one line that it ends with where something stands against a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, time
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from client.audits.display import show_bias
from client.check.bias import bias_plan
from client.check.contact_sheet import ContactSheet
from client.check.display import as_json, show, show_way_out, show_whole
from client.check.dry_run import DryRun, dry_run
from client.check.way_out import check_way_out
from client.policy.site_config import load_site_config
from client.store.check import check_whole
from client.training.calibrate_cli import bands_of
from common.config.load import read_run_config
from common.console import Terminal
from common.device import check_device
from common.errors import BudgetExhausted, ConfigError, DataError, PolicyRefusal


def check_command(
    *,
    config: Annotated[Path, typer.Option(metavar="FILE", help="The hospital's own site.yaml.")],
    run: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A run's config.yaml: ask each rule about it, and the budget.")
    ] = None,
    at: Annotated[
        str | None, typer.Option(metavar="HH:MM", help="Local time at which the run would start; now when left out.")
    ] = None,
    bands: Annotated[
        str,
        typer.Option(metavar="LIST", help="For the forecast: bands of patients of all sites, as 64-127,32-63."),
    ] = "",
    pictures: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png", help="Write twelve studies as they are decoded, for your eyes: patients' images."
        ),
    ] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every byte of what is prepared, and hold it against its digests.")
    ] = False,
    bias: Annotated[
        bool, typer.Option("--bias", help="Audit the studies for bias before anything learns from them.")
    ] = False,
    terms: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="With --bias: your own list of words that doubt, blame or stigmatise."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="With --bias: write findings, plots and example pictures as a page."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
) -> None:
    """Try the hospital's data, rules and budget, and its way to the server.

    Nothing of the hospital is sent, nothing is spent, and nothing but --pictures and --report is written.
    Exits with 0 where nothing stands against the run, 2 where the config or the data are wrong, 3 where a rule or the
    budget refuses. A server that does not answer is shown, and is no reason. The counts it shows are exact: they are
    for the hospital alone. So is what --bias finds: it is to be looked at, stands against no run, and changes no
    exit code.
    """
    plan = bias_plan(bias=bias, terms=terms, report=report)
    site = load_site_config(config)
    planned = None if run is None else read_run_config(run)
    if planned is not None:
        check_device(planned.device)
    whole = check_whole(site.state_folder) if deep else None
    local_time, sheet = _time_of(at), None if pictures is None else ContactSheet(pictures)
    cohort, way = bands_of(bands) or None, check_way_out(site)
    with counting() as progress:
        result = dry_run(site, planned, local_time=local_time, progress=progress, sheet=sheet, cohort=cohort)
    if sheet is not None:
        sheet.write()
    found = plan.carry_out(site, planned) if plan is not None and result.readiness.num_studies else None
    if json_:
        prepared = {} if whole is None else {"prepared": [asdict(one) for one in whole]}
        way_out = None if way is None else asdict(way)
        audited = {} if found is None else {"bias": found.as_json()}
        typer.echo(json.dumps({**as_json(result), **prepared, **audited, "way_out": way_out}, indent=2))
    else:
        terminal = Terminal(markup=True)
        show(result, site, terminal)
        if way is not None:
            show_way_out(way, terminal)
        if whole is not None:
            show_whole(whole, Terminal())
        if found is not None:
            show_bias(found, terminal)
    refuse_first(result, config)


@contextmanager
def counting() -> Iterator[Callable[[int], None]]:
    """Show on a terminal how many studies were read so far."""
    console = Terminal(stderr=True)
    columns = (SpinnerColumn(), TextColumn("Reading studies: {task.completed}"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda number: progress.update(task, completed=number)


def _time_of(text: str | None) -> time:
    if text is None:
        return datetime.now().astimezone().time()
    try:
        return time.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"--at {text}: not a time of day; write HH:MM, for example 23:30") from error


def refuse_first(result: DryRun, config: Path) -> None:
    """Return where nothing stands against the data, or the run; else end with the gravest finding.

    Raises:
        DataError: The data or the budget cannot be used as they are.
        PolicyRefusal: A rule refuses the run.
        BudgetExhausted: The budget does not cover the run.
    """
    if result.problems:
        raise DataError(f"{config}: not ready: {result.problems[0]}")
    refusals = [] if result.run is None else result.run.refusals
    if refusals:
        names = ", ".join(verdict.rule for verdict in refusals)
        why = f": {refusals[0].refusal}" if len(refusals) == 1 else ""
        raise PolicyRefusal(f"{config}: the policy refuses this run: {names}{why}")
    if result.budget.refusals:
        raise BudgetExhausted(f"{config}: the budget does not cover this run: {result.budget.refusals[0]}")
