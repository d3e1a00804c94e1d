"""How a scenario of many federations runs: every cell under every seed, what is measured kept at once.

Each seed has its own cut of the patients and its own first model. One federation, the *shown* cell under the first
seed, is trained in the run folder with all its intervals, for the report; a scenario that was stopped goes on with the
next cell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from common.config.load import config_as_yaml, config_digest
from common.config.schema import RunConfig
from common.encoders.dual import DualEncoder
from common.files import write_atomically
from server.model.ended_run import CONFIG_FILE
from server.report.build import build_summary
from simulations.scenarios.cells import AnyCell, Found, GridWatcher, KeptCells
from simulations.scenarios.simulate import Clock, facts_of, pooled_of, rates_of
from simulations.scenarios.trained import Trained
from simulations.studies.consortium import Consortium

CellT = TypeVar("CellT", bound=AnyCell)


class Runner(Protocol[CellT]):
    """Runs the cells of one seed: its studies are read, its first model is fitted."""

    @property
    def config(self) -> RunConfig:
        """The scenario's, with the seed."""
        ...

    @property
    def consortium(self) -> Consortium:
        """The studies."""
        ...

    @property
    def start(self) -> DualEncoder:
        """The first model."""
        ...

    def shown(self, cell: CellT) -> Trained:
        """The federation that the report shows, with all its intervals; its checkpoint and ledgers stay."""
        ...

    def found(self, cell: CellT, trained: Trained) -> Found:
        """What a cell's federation came to."""
        ...

    def measure(self, cell: CellT, before: Mapping[CellT, Found]) -> Found:
        """Run a cell; nothing of it stays but the result.

        Args:
            cell: Which.
            before: What was found under the same seed.
        """
        ...


RunnerT = TypeVar("RunnerT", bound=Runner[Any])


@dataclass(frozen=True, kw_only=True)
class Scenario(Generic[CellT, RunnerT]):
    """What is run.

    Attributes:
        cells: Under each seed, in order.
        repeats: Seeds, the config's first.
        shown: The cell that the report shows.
        phase: What the time is booked under.
        results_file: Of what is kept.
        prepared: The runner of a seed's config, with a folder for its first model.
    """

    cells: list[CellT]
    repeats: int
    shown: CellT
    phase: str
    results_file: str
    prepared: Callable[[RunConfig, Path, Clock], RunnerT]


@dataclass(frozen=True)
class Measured(Generic[CellT, RunnerT]):
    """What came of it.

    Attributes:
        runners: Of each seed.
        found: Of each cell under each seed.
        summary: Of the shown federation.
        rounds: Of the shown federation.
    """

    runners: list[RunnerT]
    found: Mapping[tuple[int, CellT], Found]
    summary: dict[str, Any]
    rounds: list[dict[str, Any]]


def measure_all(
    config: RunConfig, folder: Path, scenario: Scenario[CellT, RunnerT], *, watcher: GridWatcher
) -> Measured[CellT, RunnerT]:
    """Run every cell that the folder does not hold yet.

    Raises:
        CheckFailed: The shown federation changed nothing.
        CheckpointError: The folder holds results of another config.
        WardroundError: The config or the studies cannot be used.
    """
    started_at, clock = datetime.now(UTC), Clock(watcher)
    kept = KeptCells(folder / scenario.results_file, config_digest(config), type(scenario.shown))
    write_atomically(folder / CONFIG_FILE, config_as_yaml(config).encode())
    seeds = range(config.seed, config.seed + scenario.repeats)
    every = [(seed, cell) for seed in seeds for cell in scenario.cells]
    runners = []
    for seed in seeds:
        runner = scenario.prepared(replace(config, seed=seed), folder / f"seed-{seed}", clock)
        runners.append(runner)
        with clock.phase(scenario.phase):
            if seed == config.seed:
                trained = runner.shown(scenario.shown)
                if (seed, scenario.shown) not in kept.found:  # measured again, its sites would tell other noise
                    kept.add((seed, scenario.shown), runner.found(scenario.shown, trained))
            for number, (of_seed, cell) in enumerate(every, start=1):
                if of_seed == seed and (seed, cell) not in kept.found:
                    watcher.cell_begins(f"{cell.label}, seed {seed}", number=number, of=len(every))
                    before = {other: found for (at, other), found in kept.found.items() if at == seed}
                    kept.add((seed, cell), runner.measure(cell, before))
    first = runners[0]
    trained.pooled["start"] = rates_of(pooled_of(first.start, first.consortium, first.config))
    facts = facts_of(trained.config, first.consortium, first.start, started_at, clock, pooled=trained.pooled)
    summary = build_summary(trained.config, trained.state, facts)
    summary["timings"] |= {"rounds_seconds": None}  # of many federations, not told apart
    return Measured(runners, {repeat: kept.found[repeat] for repeat in every}, summary, trained.state.rounds)
