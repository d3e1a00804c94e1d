"""`wardround site approve`: a person at a hospital looks at a run's bundle, and lets it train here, or does not."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from client.check.cli import counting, refuse_first
from client.deploy.approval import Approval, Approvals
from client.deploy.prepare_cli import prepare_showing
from client.deploy.review import Review, as_json, review, show
from client.policy.site_config import load_site_config
from client.policy.site_schema import SiteConfig
from client.state_folder import KEY_FILE
from client.training.calibrate_cli import bands_of
from common.bundle import Bundle, read_bundle
from common.console import Terminal
from common.errors import ConfigError, DataError, TrustError
from common.trust.display import confirm
from common.trust.keys import SigningKey


def approve_command(
    bundle: Annotated[
        Path | None, typer.Argument(metavar="BUNDLE", help="What the coordinating centre sent: a run in one file.")
    ] = None,
    *,
    config: Annotated[Path, typer.Option(metavar="FILE", help="The hospital's own site.yaml.")],
    bands: Annotated[
        str,
        typer.Option(metavar="LIST", help="For the forecast: bands of patients of all sites, as 64-127,32-63."),
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", help="It was looked at already: do not ask.")] = False,
    json_: Annotated[
        bool, typer.Option("--json", help="Print everything as one JSON object; without --yes nothing is approved.")
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="Show what is approved.")] = False,
    withdraw: Annotated[
        str | None, typer.Option(metavar="HASH", help="Take an approval back; it holds from the next message.")
    ] = None,
) -> None:
    """Show a run's bundle, what it would do and spend here, and approve it.

    Shows how its config differs from the base and from what was approved last, whether the same code and the same
    public studies are here, what the policy says, and the budget. Nothing of the bundle is ever executed. At a terminal
    it then offers to prepare the studies for the run; otherwise the agent does so by itself.
    Exits with 2 where the data or the public studies are wrong, 3 where policy or budget refuse, 4 where the bundle is
    damaged.
    """
    site = load_site_config(config)
    approvals = Approvals(site.state_folder, site=site.site, key=SigningKey.load(site.state_folder / KEY_FILE))
    if [bundle is not None, list_, withdraw is not None].count(True) != 1:
        raise ConfigError("give one of BUNDLE, --list and --withdraw HASH")
    if bundle is not None:
        _approve(bundle, site, config, approvals, cohort=bands_of(bands) or None, yes=yes, as_object=json_)
    elif withdraw is not None:
        approvals.withdraw(withdraw)
        typer.echo(json.dumps({"withdrawn": withdraw}) if json_ else f"Withdrawn: {withdraw}")
    else:
        _list(approvals.all(), as_object=json_)


def _approve(
    path: Path,
    site: SiteConfig,
    site_file: Path,
    approvals: Approvals,
    *,
    cohort: tuple[str, ...] | None,
    yes: bool,
    as_object: bool,
) -> None:
    bundle = read_bundle(path)
    with counting() as progress:
        found = review(site, bundle, last=_last(approvals), progress=progress, cohort=cohort)
    if not as_object:
        show(found, site, Terminal(markup=True))
    _refuse_or_give(path, found, site, site_file, approvals, yes=yes, as_object=as_object)
    if not as_object:
        typer.echo(f"Approved: {bundle.hash}")
        _offer_to_prepare(site, bundle, ask=not yes)


def _offer_to_prepare(site: SiteConfig, bundle: Bundle, *, ask: bool) -> None:
    """Prepare the studies now, where a person at a terminal wants that."""
    if ask and sys.stdin.isatty() and typer.confirm("Prepare the studies for it now? The agent would by itself"):
        num_studies, _ = prepare_showing(site, bundle, Terminal(stderr=True))
        typer.echo(f"Prepared {num_studies:,} studies")
    else:
        typer.echo("The agent prepares the studies for it; wardround site prepare does so at once")


def _refuse_or_give(
    path: Path, found: Review, site: SiteConfig, site_file: Path, approvals: Approvals, *, yes: bool, as_object: bool
) -> None:
    shown: dict[str, Any] = {**as_json(found), "approved": False}
    try:
        refuse_first(found.checks, site_file)
        if found.anchors_problem is not None:
            raise DataError(found.anchors_problem)
        if as_object and not yes:
            return
        confirm("Let this run train on this hospital's studies?", yes=yes)
        approvals.give(
            path,
            found.bundle,
            code=found.installed_code,
            epsilon=found.epsilon,
            delta=site.budget.delta,
            now=datetime.now(UTC),
        )
        shown["approved"] = True
    finally:
        if as_object:
            typer.echo(json.dumps(shown, indent=2))


def _last(approvals: Approvals) -> tuple[Approval, Bundle] | None:
    """What was approved last; None where nothing was, or what was cannot be read any more."""
    try:
        return next(((approval, approvals.bundle(approval)) for approval in reversed(approvals.all())), None)
    except TrustError:
        return None


def _list(found: list[Approval], *, as_object: bool) -> None:
    if as_object:
        typer.echo(json.dumps([asdict(approval) for approval in found], indent=2))
        return
    for approval in found:
        typer.echo(f"{approval.bundle}  {approval.time}  run {approval.run[:12]}  epsilon {approval.epsilon}")
    if not found:
        typer.echo("Nothing is approved")
