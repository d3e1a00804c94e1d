"""`wardround bench`: runs one benchmark and prints its rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated

import typer

from common.config.registry import Registry
from common.console import Terminal
from common.errors import ConfigError
from simulations.benchmarks.report import Row, as_json, as_table

BENCHES: Registry[Callable[[], list[Row]]] = Registry(
    "bench",
    {
        "aggregation": "simulations.benchmarks.aggregation:bench_aggregation",
        "data": "simulations.benchmarks.data:bench_data",
        "deployment": "simulations.benchmarks.deployment:bench_deployment",
        "dp": "simulations.benchmarks.dp:bench_dp",
        "encode": "simulations.benchmarks.encode:bench_encode",
        "round": "simulations.benchmarks.round:bench_round",
    },
)


def bench_command(
    name: Annotated[str, typer.Argument(help=f"One of: {', '.join(BENCHES.names)}.")],
    *,
    deployment: Annotated[
        bool, typer.Option("--deployment", help="With round: over real processes and TLS, as bench deployment.")
    ] = False,
    as_object: Annotated[bool, typer.Option("--json", help="Print the rows as one JSON object.")] = False,
) -> None:
    """Measure speed, as ratios against a peer or a bound that are measured in the same run."""
    if deployment and name != "round":
        raise ConfigError("--deployment: goes with wardround bench round alone")
    name = "deployment" if deployment else name
    rows = BENCHES.load(name)()
    if as_object:
        typer.echo(json.dumps(as_json(name, rows), indent=2, allow_nan=False))
    else:
        Terminal().print(as_table(name, rows))
