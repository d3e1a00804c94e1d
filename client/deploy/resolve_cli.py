"""`wardround site resolve`: which study of this hospital another one was told of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from client.policy.site_config import load_site_config
from client.search.desk import local_now
from client.search.resolving import resolve


def resolve_command(
    handle: Annotated[str, typer.Argument(metavar="HANDLE", help="As another hospital was told it.")],
    *,
    config: Annotated[Path, typer.Option("--config", metavar="FILE", help="The hospital's own site.yaml.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why it is opened; it goes into this hospital's log.")],
) -> None:
    """Find the study of this hospital that another one was told of by a handle.

    Exits with 2 where the handle is none of this hospital or too old, 4 where the index does not hold.
    """
    site = load_site_config(config)
    typer.echo(resolve(site, handle, reason=reason, now=local_now()))
