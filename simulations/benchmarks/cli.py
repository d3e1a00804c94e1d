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

BENCHES: Registry[Callable[..., list[Row]]] = Registry(
    "bench",
    {
        "aggregation": "simulations.benchmarks.aggregation:bench_aggregation",
        "attacks": "simulations.benchmarks.attacks:bench_attacks",
        "codes": "simulations.benchmarks.codes:bench_codes",
        "data": "simulations.benchmarks.data:bench_data",
        "deployment": "simulations.benchmarks.deployment:bench_deployment",
        "dp": "simulations.benchmarks.dp:bench_dp",
        "encode": "simulations.benchmarks.encode:bench_encode",
        "round": "simulations.benchmarks.round:bench_round",
        "search": "simulations.benchmarks.search:bench_search",
        "search_deployment": "simulations.benchmarks.search_deployment:bench_search_deployment",
        "unpaired": "simulations.benchmarks.unpaired:bench_unpaired",
    },
)

DEPLOYED = {"round": "deployment", "search": "search_deployment"}
"""What `--deployment` makes of a benchmark: the same over real processes."""

CONFIGURED = ("attacks", "codes", "unpaired")
"""Benchmarks that take keys of the config."""


def bench_command(
    name: Annotated[str, typer.Argument(help=f"One of: {', '.join(BENCHES.names)}.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="With attacks, codes and unpaired: keys of the config, as key=value.", show_default=False),
    ] = None,
    *,
    deployment: Annotated[
        bool, typer.Option("--deployment", help="With round and search: over real processes and TLS.")
    ] = False,
    as_object: Annotated[bool, typer.Option("--json", help="Print the rows as one JSON object.")] = False,
) -> None:
    """Measure speed, as ratios against a peer or a bound of the same run; some say what is found."""
    if deployment and name not in DEPLOYED:
        raise ConfigError(f"--deployment: goes with wardround bench {', '.join(DEPLOYED)} alone")
    if overrides and name not in CONFIGURED:
        raise ConfigError(f"{overrides[0]}: settings go with wardround bench {', '.join(CONFIGURED)} alone")
    name = DEPLOYED[name] if deployment else name
    bench = BENCHES.load(name)
    rows = bench(overrides) if overrides else bench()
    if as_object:
        typer.echo(json.dumps(as_json(name, rows), indent=2, allow_nan=False))
    else:
        Terminal().print(as_table(name, rows))
