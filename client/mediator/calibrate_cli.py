"""`wardround mediator calibrate`: how likely a hit is relevant that was held against a plan, told by public studies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from client.data.anchor_folder import AnchorFolder
from client.data.anchor_options import Layout, SiteColumn, SplitColumn
from client.data.rows import DEFAULT_SITE_COLUMN
from common.console import Terminal
from common.errors import CannotTell
from common.retrieval.relevance import Relevance


def calibrate_command(
    *,
    model: Annotated[Path, typer.Option(metavar="FOLDER", help="The exported model that hospitals search with.")],
    studies: Annotated[
        Path, typer.Option(metavar="DIR", help="Public studies with reports and findings: those of the model's run.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="What hospitals name in mediator.relevance of site.yaml.")],
    adapter: Layout = "manifest",
    split: SplitColumn = "",
    site_column: SiteColumn = DEFAULT_SITE_COLUMN,
    none_was_seen: Annotated[
        bool, typer.Option("--none-was-seen", help="They are other studies than the run's: no training saw any.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as one JSON object.")] = False,
) -> None:
    """Tell from public studies how likely a hit is relevant, by its rank under a plan.

    Queries are written from the studies' findings, searched among the studies of other patients, and the first hits
    counted. They must be studies that no training of the model saw. Of the run's public studies, which are read as
    wardround bundle reads them, only the share counts that the run kept (public_fit.validation_fraction); of others
    all do, and it is you who says that none was seen. No patient of a hospital is read, and it costs no privacy.

    Exits with 1 where nobody can tell: the file is written, and says why,
    2 where there are no such studies, 4 where the model is damaged.
    """
    from client.mediator.calibrate import calibrated  # here: help and errors of options do without torch
    from client.mediator.plan_relevance import write_plan_relevance
    from client.mediator.public_gallery import encoded_gallery, run_config_in, unseen_patients
    from common.model import load_model

    config, loaded = run_config_in(model), load_model(model)
    folder = AnchorFolder(
        root=studies,
        adapter=adapter,
        alone=True,
        split=split,
        site_column=site_column,
        allow_burned_in=loaded.form.allow_burned_in,
    )
    with Terminal(stderr=True).status("Reading the public studies") as status:
        patients = unseen_patients(folder, config, none_was_seen=none_was_seen)
        status.update("Encoding those that no training saw")
        gallery = encoded_gallery(folder, loaded, patients)
        status.update("Searching them")
        made = calibrated(gallery, loaded, seed=config.seed)
    write_plan_relevance(out, made.found)
    relevance = made.found.relevance
    if as_json:
        said = {"file": str(out), "queries": made.num_queries, "not_understood": list(made.not_understood)}
        typer.echo(json.dumps({**said, **made.found.as_json()}, indent=2))
    else:
        _show(relevance, made.not_understood)
    if not relevance.tells:
        why = relevance.why or relevance.curves[0].why
        raise CannotTell(f"{out}: holds no probability: {why}; searches that use it say so")


def _show(relevance: Relevance, not_understood: Sequence[str]) -> None:
    console = Terminal()
    table = Table("compared with", "hits", "relevant blindly", "error", "90% set holds", "likeliest", "least likely")
    for curve in relevance.curves:
        ends = [f"{100 * curve.steps[at].probability:.0f}%" for at in (0, -1)] if curve.steps else ["-", "-"]
        table.add_row(
            curve.gallery,
            f"{curve.num_pairs:,} of {curve.num_patients} patients",
            f"{100 * curve.base_rate:.1f}%",
            "-" if curve.error is None else f"{curve.error:.3f}",
            "-" if curve.coverage is None else f"{100 * curve.coverage:.0f}%",
            *ends,
        )
    if relevance.curves:
        console.print(table)
    for curve in relevance.curves:
        if curve.why:
            console.print(f"{curve.gallery}: no probability: {curve.why}.", soft_wrap=True)
    if not_understood:
        console.print(f"No plan is made of: {', '.join(not_understood)}.", soft_wrap=True)
