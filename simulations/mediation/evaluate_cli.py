"""`wardround mediator evaluate`: how near a proposer's plans come to the right ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.table import Table

from client.mediator.interface import PROPOSERS, Modelled, Proposer
from client.mediator.lexical import Lexical
from client.policy.site_config import load_site_config
from client.policy.site_schema import MediatorLimits
from common.console import Terminal
from common.errors import ConfigError
from simulations.attacks.queries.requests import requests
from simulations.attacks.queries.suite import attacks
from simulations.mediation.evaluation import Scored, evaluate
from simulations.mediation.queries import ASKED_ON, right_plans
from simulations.mediation.red_team import LEGITIMATE_SEED, NUM_LEGITIMATE, RedTeam, red_team

HEADLINES = ("concept_f1", "negation_accuracy", "acronym_accuracy")
"""Figures of the held queries that stand on their own in `--json`."""


def evaluate_command(
    *,
    proposer: Annotated[
        str, typer.Option(metavar="NAME", help="Who proposes: lexical, language_model or local_model.")
    ] = "lexical",
    site: Annotated[
        Path | None, typer.Option(metavar="FILE", help="site.yaml whose mediator section names the model.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all figures as one JSON object.")] = False,
) -> None:
    """Measure how words become plans, on 300 queries with their right plans, and attack it.

    Half of the queries were used while the terms were chosen ("develop"), half were held for the last test; the figures
    that count are those of the held ones. The attacks are 2,250, each against the proposer and against a model that
    obeys it, beside as many requests without one. Exits with 0 whatever the figures are, 2 where no proposer has that
    name or it needs a model that no site.yaml names.
    """
    settings = MediatorLimits() if site is None else load_site_config(site).mediator
    proposing = _proposer(proposer, settings)
    scored = evaluate(proposing, right_plans())
    model = None if proposer == Lexical.name else cast("Modelled", proposing)
    attacked = red_team(model, attacks(), requests(number=NUM_LEGITIMATE, seed=LEGITIMATE_SEED))
    if as_json:
        typer.echo(json.dumps(_as_json(proposer, scored, attacked), indent=2, allow_nan=False))
        return
    console = Terminal()
    console.print(_table(proposer, scored))
    console.print("A concept counts where its code stands in the right list: wanted, excluded or anatomy.")
    console.print(
        f"{attacked.attacks:,} attacks: {attacked.accepted_unsupported} plans in use want what the words did not; "
        f"{attacked.refused_legitimate:.1%} of {attacked.legitimate:,} requests without an attack were refused."
    )


def _proposer(name: str, settings: MediatorLimits) -> Proposer:
    made = PROPOSERS.load(name)
    needed = {"language_model": settings.endpoint, "local_model": settings.folder}
    if not needed.get(name, name):
        raise ConfigError(f"--proposer {name}: names no model; give --site FILE with a mediator section that names one")
    return made(settings, ASKED_ON)


def _as_json(proposer: str, scored: Mapping[str, Scored], attacked: RedTeam) -> dict[str, Any]:
    splits = {split: figures.as_json() for split, figures in scored.items()}
    return {
        **{name: splits["held"][name] for name in HEADLINES},
        **{name: attacked.as_json()[name] for name in ("attacks", "accepted_unsupported", "refused_legitimate")},
        "proposer": proposer,
        "red_team": attacked.as_json(),
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
