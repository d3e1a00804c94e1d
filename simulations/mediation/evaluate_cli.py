"""`wardround mediator evaluate`: how near a proposer's plans come to the right ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.table import Table

from client.mediator.interface import PROPOSERS
from client.policy.site_schema import MediatorLimits
from common.console import Terminal
from simulations.mediation.evaluation import Scored, evaluate
from simulations.mediation.queries import ASKED_ON, right_plans

HEADLINES = ("concept_f1", "negation_accuracy", "acronym_accuracy")
"""Figures of the held queries that stand on their own in `--json`."""


def evaluate_command(
    *,
    proposer: Annotated[str, typer.Option(metavar="NAME", help="Who proposes: lexical.")] = "lexical",
    as_json: Annotated[bool, typer.Option("--json", help="Print all figures as one JSON object.")] = False,
) -> None:
    """Measure how words become plans, on 300 queries with their right plans.

    Half of the queries were used while the terms were chosen ("develop"), half were held for the last test; the figures
    that count are those of the held ones. Exits with 0 whatever the figures are, 2 where no proposer has that name.
    """
    scored = evaluate(PROPOSERS.load(proposer)(MediatorLimits(), ASKED_ON), right_plans())
    if as_json:
        typer.echo(json.dumps(_as_json(proposer, scored), indent=2, allow_nan=False))
        return
    console = Terminal()
    console.print(_table(proposer, scored))
    console.print("A concept counts where its code stands in the right list: wanted, excluded or anatomy.")


def _as_json(proposer: str, scored: Mapping[str, Scored]) -> dict[str, Any]:
    splits = {split: figures.as_json() for split, figures in scored.items()}
    return {
        **{name: splits["held"][name] for name in HEADLINES},
        # Measured by the suite of attacks, which is not part of this yet.
        **dict.fromkeys(("attacks", "accepted_unsupported", "refused_legitimate")),
        "proposer": proposer,
        "splits": splits,
    }


def _table(proposer: str, scored: Mapping[str, Scored]) -> Table:
    table = Table("", *scored, title=f"Plans of the {proposer} proposer beside the right ones")
    columns = [figures.as_json() for figures in scored.values()]
    for name in columns[0]:
        table.add_row(name.replace("_", " "), *(_shown(column[name]) for column in columns))
    return table


def _shown(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"
