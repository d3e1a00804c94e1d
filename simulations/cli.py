"""`wardround simulate`: its options, the progress it shows, and the table it ends with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from common.config.load import load_config, read_run_config
from common.config.schema import RunConfig
from common.console import Terminal
from common.device import CPU, check_device, devices_here
from common.errors import ConfigError
from server.model.ended_run import CONFIG_FILE
from server.report import sentences, words
from server.report.fairness.release_gate import check_released
from server.report.fairness.release_words import passed
from server.report.remedies import remedies_verdict, remedy_rows
from server.report.robustness import Grid, hardest_grids
from server.report.tables import silent_sites
from simulations.display import TerminalWatcher
from simulations.scenarios.baselines import simulate_baselines
from simulations.scenarios.fairness import simulate_fairness
from simulations.scenarios.robustness import simulate_robustness
from simulations.scenarios.simulate import simulate

RATES = ("start_metrics", "metrics", "codes")
"""Where a site's recall of the start, of the model and of its codes stands in the summary."""


class Engine(StrEnum):
    """What calls the sites."""

    INPROCESS = "inprocess"
    RAY = "ray"


def simulate_command(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Config keys to set; configs/base.yaml lists them all."),
    ] = None,
    *,
    scenario: Annotated[str | None, typer.Option(help="Lay configs/scenarios/NAME.yaml over the base.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder, a new one; runs/ and the time when left out.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with the run in this folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
    engine: Annotated[
        Engine, typer.Option(help="What calls the sites; ray is Flower's own simulation, extra ray.")
    ] = Engine.INPROCESS,
) -> None:
    """Train a whole consortium on this machine, and report it.

    Without arguments: five synthetic hospitals, patient-level privacy at epsilon 8, in under three minutes.
    Any key of configs/base.yaml can be set as KEY=VALUE, for example federation.rounds=20 privacy.epsilon=2.
    """
    config, folder = _run_of(overrides or [], scenario, out, resume)
    check_device(config.device)
    _point_out_unused_gpu(config.device)
    summary = _watched(config, folder, engine)
    if as_json:
        typer.echo(json.dumps(summary, indent=2, allow_nan=False))
    else:
        _show(summary, folder)
    check_released(summary)


def _show(summary: Mapping[str, Any], folder: Path) -> None:
    console = Terminal()
    for table in _tables(summary):
        console.print(table)
    about = (sentences.stepped_back, sentences.helped, sentences.served_worse, passed)
    for told in (of_run(summary) for of_run in about):
        if told is not None:
            console.print(told, highlight=False)
    console.print(f"Report: {folder / 'report.html'}", soft_wrap=True, highlight=False)


def _point_out_unused_gpu(device: str) -> None:
    others = devices_here()[1:]
    if device == CPU and others:
        said = f"device=cpu: {others[0]} is on this machine and is not used; set device to use it"
        Terminal(stderr=True).print(said, markup=False, highlight=False)


def _run_of(
    overrides: list[str], scenario: str | None, out: Path | None, resume: Path | None
) -> tuple[RunConfig, Path]:
    """The configuration and the folder that the options name.

    Raises:
        ConfigError: The options contradict each other, or the new folder is taken.
    """
    if resume is not None:
        if overrides or scenario or out:
            raise ConfigError(f"--resume {resume}: goes on with the folder's own config; leave the other options out")
        return read_run_config(resume / CONFIG_FILE), resume
    folder = out or Path("runs") / datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"--out {folder}: holds files already; name a new folder, or go on with --resume {folder}")
    return load_config(overrides, scenario=scenario), folder


def _watched(config: RunConfig, folder: Path, engine: Engine) -> dict[str, Any]:
    with TerminalWatcher(Terminal(stderr=True), rounds=config.federation.rounds) as watcher:
        if engine is Engine.RAY:
            from simulations.flower.ray_engine import simulate_with_ray

            return simulate_with_ray(config, folder, watcher=watcher)
        if config.baselines.repeats or config.baselines.splits:
            return simulate_baselines(config, folder, watcher=watcher)
        if config.robustness.rules:
            return simulate_robustness(config, folder, watcher=watcher)
        if config.remedies.names:
            return simulate_fairness(config, folder, watcher=watcher)
        return simulate(config, folder, watcher=watcher)


def _tables(summary: Mapping[str, Any]) -> list[Table]:
    """What a run ends with: the tables of its scenario."""
    if summary.get("robustness"):
        return [_robustness_table(grid) for grid in hardest_grids(summary)]
    if summary.get("remedies"):
        return [_remedies_table(summary)]
    return [_baselines_table(summary) if summary.get("baselines") else _sites_table(summary)]


def _sites_table(summary: Mapping[str, Any]) -> Table:
    noised = all(site["private"] for site in summary["sites"].values())
    exact = "sites with noise; last line not private: simulation only" if noised else "not private: simulation only"
    table = Table(title=f"Recall at 10, image to report, on held-out patients ({exact})")
    for column in ("site", "patients", "rounds", "dropped", "start", "now", "codes", "epsilon"):
        table.add_column(column, justify="left" if column == "site" else "right")
    silent = silent_sites(summary)
    for name, site in summary["sites"].items():
        drops = ", ".join(f"{reason} {count}" for reason, count in site["drops"].items())
        table.add_row(
            name,
            site["patients_band"],
            str(site["rounds_joined"]),
            drops or words.DASH,
            *(
                words.DASH if name in silent else words.rate(_rate(site[kind]), chance=site["chance_recall_at_10"])
                for kind in RATES
            ),
            words.epsilon(site["epsilon"]),
        )
    notes = [*sentences.too_few_to_say(silent), *sentences.not_measured(summary), *sentences.resting(summary)]
    table.caption = "\n".join(notes) or None
    table.caption_justify = "left"
    pooled = summary["pooled"]
    chance = pooled["chance_recall_at_10"]
    table.add_section()
    table.add_row(
        f"all, {pooled['gallery']} reports",
        "",
        str(summary["rounds_completed"]),
        "",
        *(words.rate(_rate(found), chance=chance) for found in (pooled["start"], pooled, pooled["codes"])),
        f"chance {words.percent(chance)}",
    )
    return table


def _baselines_table(summary: Mapping[str, Any]) -> Table:
    table = Table(title="Recall at 10, image to report, one gallery of all sites (not private: simulation only)")
    for column in ("baseline", "mean", "each", "codes"):
        table.add_column(column, justify="left" if column in ("baseline", "each") else "right")
    for name, found in summary["baselines"].items():
        rates = found["recall_at_10"]
        table.add_row(
            words.BASELINES.get(name, name),
            f"{sum(rates) / len(rates):.3f}",
            "  ".join(f"{rate:.3f}" for rate in rates),
            f"{sum(found['codes_recall_at_10']) / len(rates):.3f}",
        )
    return table


def _remedies_table(summary: Mapping[str, Any]) -> Table:
    found = summary["remedies"]
    table = Table(title=f"Recall at 10, and how much less {found['group']} is found (not private: simulation only)")
    for column in ("remedy", "privacy", "finds", "kept", "gap", "left of it", "verdict"):
        table.add_column(column, justify="left" if column in ("remedy", "privacy", "verdict") else "right")
    for row in remedy_rows(summary):
        left = words.DASH if row.left is None else words.percent(row.left[0])
        figures = (words.percent(row.recall[0]), words.percent(row.kept[0]), words.points(row.gap[0]), left)
        table.add_row(row.remedy, row.epsilon, *figures, row.verdict)
    table.caption, table.caption_justify = remedies_verdict(summary), "left"
    return table


def _robustness_table(grid: Grid) -> Table:
    """Attacks by rules, so that it fits a terminal: there are more attacks than rules."""
    table = Table(title=f"{grid.title}: share of the unattacked mean's recall at 10 that each rule keeps, in percent")
    table.add_column("attack")
    for rule in grid.rules:
        table.add_column(rule.replace("+", "+\n").replace("_", "_\n"), justify="right")
    for attack, kept in zip(grid.attacks, zip(*grid.kept, strict=True), strict=True):
        table.add_row(words.attack(attack), *map(words.whole_percent, kept))
    table.add_section()
    table.add_row("worst attack", *(words.attack(worst.attack) if worst else words.DASH for worst in grid.worst))
    table.add_row("kept under it", *(words.whole_percent(worst.kept) if worst else words.DASH for worst in grid.worst))
    return table


def _rate(metrics: Mapping[str, Any] | None) -> float | None:
    return metrics.get("recall_at_10") if metrics else None
