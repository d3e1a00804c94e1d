"""`wardround site prepare`: a hospital reads and encodes its studies before a run asks for them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from client.deploy.approval import Approvals
from client.deploy.own_studies import check_listed
from client.policy.site_config import load_site_config
from client.policy.site_schema import SiteConfig
from client.state_folder import KEY_FILE
from client.store.store import StudyStore
from common.bundle import Bundle, read_bundle
from common.console import Terminal
from common.errors import ConfigError
from common.trust.keys import SigningKey

_LINE_EVERY = 10
"""Lines of progress where there is no terminal."""


def prepare_command(
    bundle: Annotated[
        Path | None,
        typer.Argument(metavar="BUNDLE", help="The run to prepare for; without it, all runs approved here."),
    ] = None,
    *,
    config: Annotated[Path, typer.Option(metavar="FILE", help="The hospital's own site.yaml.")],
) -> None:
    """Read, decode and encode all studies for a run, once, into the state folder.

    The agent does it by itself for what is approved; this does it now, and shows how long it takes. It can be killed at
    any time and goes on where it was. Nothing leaves. Exits with 2 where the studies cannot be used, change meanwhile,
    or are being prepared already.
    """
    site = load_site_config(config)
    bundles = [read_bundle(bundle)] if bundle is not None else _approved(site)
    console = Terminal(stderr=True)
    for one in bundles:
        num_studies, num_public = prepare_showing(site, one, console)
        typer.echo(f"Prepared {num_studies:,} studies and {num_public:,} public ones for run {one.run[:12]}")


def prepare_showing(site: SiteConfig, bundle: Bundle, console: Console) -> tuple[int, int]:
    """Prepare for a run, with a bar and the time left on a terminal, and a line now and then elsewhere.

    Returns:
        The hospital's own studies, and the public ones.

    Raises:
        ConfigError: The run's encoder cannot be had here, or the disk is full.
        DataError: The studies cannot be used, change meanwhile, or are being prepared by another process.
    """
    store = StudyStore(site, bundle.config.encoder)
    prepared = store.open()
    if prepared is None:
        check_listed(site, store.listed())
        _prepare(store, bundle, console)
        prepared = store.open()
    if prepared is None:
        raise ConfigError(
            f"{site.state_folder}: what was prepared cannot be read again; look at its disk, and try again"
        )
    return len(prepared.records), len(prepared.anchors.features.images)


def _prepare(store: StudyStore, bundle: Bundle, console: Console) -> None:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("Preparing the studies", total=None)
        told = -1
        for progress in store.prepare(anchors=bundle.anchors):
            bar.update(task, total=progress.total, completed=progress.done)
            share = _LINE_EVERY * progress.done // max(1, progress.total)
            if not console.is_terminal and share != told:
                told = share
                left = "" if progress.seconds_left is None else f", {progress.seconds_left / 60:.0f} min left"
                console.print(f"{progress.done:,} of {progress.total:,} studies{left}", highlight=False)


def _approved(site: SiteConfig) -> list[Bundle]:
    """The bundles of all approvals, the last one first.

    Raises:
        ConfigError: Nothing is approved.
        TrustError: An approval or its bundle does not hold.
    """
    approvals = Approvals(site.state_folder, site=site.site, key=SigningKey.load(site.state_folder / KEY_FILE))
    found = [approvals.bundle(approval) for approval in reversed(approvals.all())]
    if not found:
        raise ConfigError("nothing is approved here yet; give the BUNDLE to prepare for")
    return found
