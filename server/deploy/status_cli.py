"""`wardround server status`: the server of a folder now, its members, its runs, and what ends when."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from common.console import Terminal
from common.trust.times import as_text
from server.deploy.config import CONFIG_FILE
from server.deploy.control import ControlError, Node
from server.deploy.flower_processes import FlowerFiles
from server.deploy.installation import Installation, is_served, read_installation
from server.deploy.rotate import crossover
from server.deploy.run_view import not_ready_in_words
from server.deploy.runs import RunFolder, all_runs


@dataclass(frozen=True, kw_only=True)
class SiteStatus:
    """A member.

    Attributes:
        site: Its name.
        admitted: Since when, UTC.
        registered: Whether the server lets it in now.
        online: Whether it was heard of lately.
        says: Why it is not ready for the run that goes on, a reason code; empty where it is, or was not asked.
    """

    site: str
    admitted: str
    registered: bool
    online: bool
    says: str


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """A run that has not ended.

    Attributes:
        run: Its key.
        standing: Where it stands.
    """

    run: str
    standing: str


@dataclass(frozen=True, kw_only=True)
class EndStatus:
    """Something that comes to its end.

    Attributes:
        what: What it is.
        end: When, UTC.
        is_near: Whether that is within 30 days, or past.
    """

    what: str
    end: str
    is_near: bool


@dataclass(frozen=True, kw_only=True)
class ServerStatus:
    """A server.

    Attributes:
        consortium: Its name.
        address: Where sites dial.
        running: Whether it runs.
        trouble: Why its SuperLink could not be asked; empty where it could.
        sites: The members.
        runs: Runs that have not ended.
        ends: What ends when.
    """

    consortium: str
    address: str
    running: bool
    trouble: str
    sites: tuple[SiteStatus, ...]
    runs: tuple[RunStatus, ...]
    ends: tuple[EndStatus, ...]


def status_command(
    *,
    config: Annotated[Path, typer.Option("--config", metavar="FILE", help="The consortium's consortium.yaml.")] = Path(
        CONFIG_FILE
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the server: whether it runs, which sites are there, which runs go on, what ends when.

    Exits with 1 where it does not run or does not answer.
    """
    status = server_status(read_installation(config), now=datetime.now(UTC))
    if as_json:
        typer.echo(json.dumps(asdict(status)))
    else:
        _show(status)
    if status.trouble:
        raise typer.Exit(1)


def server_status(installation: Installation, *, now: datetime) -> ServerStatus:
    """A server now; one that does not run has no site online."""
    nodes, trouble = _ask(installation)
    going_on = [run for run in all_runs(installation.folder) if run.outcome is None]
    not_ready = _not_ready(going_on[0]) if going_on else {}
    online = {node.key: node.online for node in nodes}
    over = crossover(installation)
    return ServerStatus(
        consortium=installation.consortium.name,
        address=installation.consortium.address,
        running=is_served(installation.folder),
        trouble=trouble,
        sites=tuple(
            SiteStatus(
                site=site,
                admitted=member.time,
                registered=member.node_key in online,
                online=online.get(member.node_key, False),
                says=not_ready.get(site, ""),
            )
            for site, member in sorted(installation.members.present.items())
        ),
        runs=tuple(RunStatus(run=run.key, standing=str(run.standing)) for run in going_on),
        ends=tuple(
            EndStatus(what=expiry.what, end=as_text(expiry.end), is_near=expiry.is_near(now))
            for expiry in (*installation.expiries, *(() if over is None else (over,)))
        ),
    )


def _ask(installation: Installation) -> tuple[Sequence[Node], str]:
    if not is_served(installation.folder):
        return (), "the server does not run; start it with wardround server start"
    try:
        with FlowerFiles(installation.folder).control(installation) as control:
            return control.nodes(), ""
    except ControlError as error:
        return (), str(error)


def _not_ready(run: RunFolder) -> Mapping[str, str]:
    """What hospitals said when a run last waited for them, by name."""
    events, _ = run.follow()
    return next((event["not_ready"] for event in reversed(events) if event["event"] == "waiting"), {})


def _show(status: ServerStatus) -> None:
    console = Terminal()
    console.print(f"{status.consortium} at {status.address}: {status.trouble or 'running'}")
    sites = Table("site", "admitted", "now")
    for site in status.sites:
        now = "online" if site.online else "offline" if site.registered else "unknown"
        if site.online and site.says:
            now = f"online; it {not_ready_in_words(site.says)}"
        sites.add_row(site.site, site.admitted, now)
    console.print(sites)
    for run in status.runs:
        console.print(f"run {run.run}: {run.standing}")
    for ends in status.ends:
        console.print(f"{ends.what}: ends {ends.end}{', soon' if ends.is_near else ''}")
