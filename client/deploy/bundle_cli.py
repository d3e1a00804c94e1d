"""`wardround bundle`: the coordinating centre makes the one file that hospitals approve, from public studies alone."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer

from client.data.anchor_folder import AnchorFolder
from client.data.anchor_options import Layout, SiteColumn, SplitColumn
from client.data.rows import DEFAULT_SITE_COLUMN
from client.deploy.bundle import build_bundle
from client.training.calibrate_cli import bands_of
from common.config.load import load_config
from common.console import Terminal
from common.errors import ConfigError
from common.files import write_atomically
from common.pair_noise.cohort_file import read_cohort
from common.privacy.plan import SHARED
from common.trust.display import spoken


def bundle_command(
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Overrides of the run.")] = None,
    *,
    config: Annotated[
        Path, typer.Option(metavar="FILE", help="The run's config, whole or what differs from the base.")
    ],
    anchors: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Folder with the public studies."),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the bundle is written.")],
    adapter: Layout = "manifest",
    split: SplitColumn = "",
    site_column: SiteColumn = DEFAULT_SITE_COLUMN,
    bands: Annotated[
        str,
        typer.Option(metavar="LIST", help="For forecast and privacy.calibrate: bands of all sites, as 64-127,128-255."),
    ] = "",
    cohort: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="For privacy.noise=shared: who shares it, as server cohort wrote it."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print what was made as one JSON object.")] = False,
) -> None:
    """Make a run's bundle: its configuration and its first model, fitted to public studies.

    What the config says of private studies has no effect on a hospital: there, its site.yaml says where they are. Exits
    with 2 where no hospital could ever run it.
    """
    run = load_config(overrides or [], file=config)
    members = {} if cohort is None else read_cohort(cohort)
    if members and run.privacy.noise != SHARED:
        raise ConfigError(f"--cohort {cohort}: the run's hospitals share no noise; set privacy.noise=shared")
    # The bits of a fit depend on it: as many as a simulation of the same config uses.
    torch.set_num_threads(run.workers)
    with Terminal(stderr=True).status("Looking at the run") as status:
        folder = AnchorFolder(root=anchors, adapter=adapter, alone=True, split=split, site_column=site_column)
        made = build_bundle(run, folder, bands=bands_of(bands), cohort=members, progress=status.update)
    write_atomically(out, made.content)
    if json_:
        foretold = {"forecast": None if made.forecast is None else made.forecast.as_json()}
        typer.echo(json.dumps({"bundle": made.hash, "file": str(out), **asdict(made.facts), **foretold}, indent=2))
        return
    fitted = f"fitted to {made.num_anchors:,} public studies, to be watched on {made.num_validated:,} others"
    typer.echo(f"Wrote {out}: {len(made.content):,} bytes, {fitted}")
    typer.echo(f"Run: {made.facts.run}")
    typer.echo(
        "Forecast: needs the bands of all sites; see --bands." if made.forecast is None else made.forecast.sentence
    )
    typer.echo(f"Bundle, to compare by telephone: {spoken(made.hash)}")
