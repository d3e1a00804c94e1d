"""`--scenario fairness`: every remedy against one group's gap, with and without privacy, on one cohort.

A cell is one federation. Its accuracy is the recall at 10 over one gallery of all sites, its gap how much less of the
group's images find their report than of all others'. Both are held against the untreated federation at the same
epsilon, on the same patients, and are means over seeds, each with its own cut of the patients and its own first model.
What remedies read of the untreated federation, the recall of each site, is read as that one released it.

What is measured is kept at once, so that a scenario that was stopped goes on with the next cell. The report shows the
sites of one federation: the first seed's untreated one at the last epsilon.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from client.training.calibrate import calibrate
from common.config.schema import RunConfig
from common.encoders.dual import DualEncoder
from common.encoders.public_fit import fresh_adversary
from common.encoders.public_parts import part_public
from common.fairness.emphasis import cut_of
from common.retrieval.paired import Paired
from common.seeds import numpy_generator
from server.checkpoint import RunState
from server.model.ended_run import PUBLIC_MODEL_FILE
from server.report.write import write_run
from simulations.federation.federate import check_cohort, each_its_own, in_cohort
from simulations.measurement.group_gap import Figure, GapBootstrap, GapFigures, Hits, Queries
from simulations.measurement.pooled import first_ten
from simulations.scenarios.all_cells import Scenario, measure_all
from simulations.scenarios.cells import Found, GridWatcher, Unwatched
from simulations.scenarios.remedies import NONE, Cell, cells_of, check_remedies, untreated
from simulations.scenarios.simulate import Clock, bands_of, prepare
from simulations.scenarios.trained import Trained, train
from simulations.studies.consortium import Consortium

RESULTS_FILE = "remedies.json"
SHOWN_FOLDER = "untreated"
FEWEST_RESAMPLES = 10
"""Intervals of a single federation's sites are not shown; the least that the config allows."""


def simulate_fairness(config: RunConfig, folder: Path, *, watcher: GridWatcher) -> dict[str, Any]:
    """Run every cell and write one run folder.

    Returns:
        The summary, with `remedies`.

    Raises:
        BudgetExhausted: policy.epsilon is below an epsilon of the cells.
        CheckFailed: A federation changed nothing.
        CheckpointError: The folder holds results of another config.
        WardroundError: The config or the studies cannot be used.
    """
    check_remedies(config)
    scenario = Scenario(
        cells=cells_of(config),
        repeats=config.remedies.repeats,
        shown=Cell(config.remedies.epsilons[-1], NONE),
        phase="remedies",
        results_file=RESULTS_FILE,
        prepared=_prepared,
    )
    done = measure_all(config, folder, scenario, watcher=watcher)
    done.summary["remedies"] = _compared(config, done.runners, scenario.cells, done.found)
    write_run(folder, done.summary, done.rounds)
    return done.summary


def released_recall(state: RunState) -> dict[str, float]:
    """Recall at 10 of each site as it last told it: from its noised counts, or exact where a simulation lets it be."""
    found = {}
    for site, told in state.latest.items():
        counts = Paired(**told["paired"]) if "paired" in told else None
        if counts is not None and counts.speaks:
            found[site] = counts.final().value
        elif counts is None and "metrics" in told:
            found[site] = float(told["metrics"]["recall_at_10"])
    return found


def _prepared(config: RunConfig, folder: Path, clock: Clock) -> _Runner:
    """What runs the cells of one seed: its studies read, its first model fitted."""
    consortium, start = prepare(untreated(config), clock, kept=folder / PUBLIC_MODEL_FILE)
    check_cohort(config, len(consortium.sites))
    return _Runner(config, consortium, start, folder)


@dataclass(frozen=True)
class _Runner:
    """Runs cells over one prepared consortium."""

    config: RunConfig
    consortium: Consortium
    start: DualEncoder
    folder: Path

    @property
    def queries(self) -> Queries:
        """Whose the held-out images are."""
        cut = cut_of(self.config)
        records = self.consortium.held_out(self.consortium.sites).records
        return Queries(
            np.array([record.patient_id for record in records]),
            np.array([cut.groups[cut.group_of(record)] for record in records]),
        )

    def hits(self, model: DualEncoder) -> Hits:
        """What a model finds of them."""
        return first_ten(model, self.consortium.held_out(self.consortium.sites).to(self.config.device))[0]

    def shown(self, cell: Cell) -> Trained:
        """The federation that the report shows, with all its intervals; its checkpoint and ledgers stay."""
        return self._train(cell, self._config_of(cell, {}), self.folder / SHOWN_FOLDER)

    def measure(self, cell: Cell, before: Mapping[Cell, Found]) -> Found:
        """Run a cell; nothing of it stays but the result."""
        config = self._config_of(cell, before.get(Cell(cell.epsilon, NONE), {}).get("site_recall", {}))
        config = replace(config, evaluation=replace(config.evaluation, num_bootstrap=FEWEST_RESAMPLES))
        with tempfile.TemporaryDirectory(prefix="wardround-") as folder:
            return self.found(cell, self._train(cell, config, Path(folder) / "cell"))

    def found(self, cell: Cell, trained: Trained) -> Found:  # noqa: ARG002 - as of any scenario
        """What a cell's federation came to."""
        hits = [round(float(hit), 6) for hit in self.hits(trained.model)]
        return {"hits": hits, "site_recall": released_recall(trained.state)}

    def _config_of(self, cell: Cell, site_recall: Mapping[str, float]) -> RunConfig:
        config = in_cohort(cell.changed(self.config, site_recall), self.consortium, each_its_own(self.consortium))
        if not config.privacy.calibrate:
            return config
        anchors = part_public(self.consortium.public(), config).anchors.to(config.device)
        return calibrate(config, anchors, self._start_of(config), bands_of(self.consortium)).config

    def _start_of(self, config: RunConfig) -> DualEncoder:
        """The one start of all cells, with an adversary where the cell has one."""
        adversary = fresh_adversary(config)
        if adversary is None:
            return self.start
        start = copy.deepcopy(self.start)
        start.adversary = adversary.to(config.device)
        return start

    def _train(self, cell: Cell, config: RunConfig, folder: Path) -> Trained:
        cut = each_its_own(self.consortium)
        start = self._start_of(config)
        trained = train(config, self.consortium, start, cut=cut, folder=folder, observer=Unwatched())
        if trained.problem is not None:
            raise type(trained.problem)(f"{cell.label}: {trained.problem}")
        return trained


def _compared(
    config: RunConfig, runners: list[_Runner], cells: list[Cell], found: Mapping[tuple[int, Cell], Found]
) -> dict[str, Any]:
    """Every cell beside the untreated one at its epsilon, and the public start beside itself."""
    queries = [runner.queries for runner in runners]
    bootstrap = GapBootstrap(
        queries,
        config.remedies.group,
        generator=numpy_generator(config.seed, "bootstrap", "remedies"),
        num_resamples=config.evaluation.num_bootstrap,
    )

    def hits_of(cell: Cell) -> list[Hits]:
        return [np.array(found[runner.config.seed, cell]["hits"]) for runner in runners]

    def row(hits: list[Hits], reference: list[Hits]) -> dict[str, Any]:
        least = config.evaluation.least_group
        each = [one.recall_of_each(hit, least_patients=least) for one, hit in zip(queries, hits, strict=True)]
        everywhere = [name for name in each[0] if all(name in one for one in each)]
        groups = {name: float(np.mean([one[name] for one in each])) for name in everywhere}
        return {**_as_json(bootstrap.figures(hits, reference)), "groups": groups}

    start = [runner.hits(runner.start) for runner in runners]
    return {
        "attribute": config.mitigation.attribute,
        "group": config.remedies.group,
        "repeats": len(runners),
        "start": row(start, start),
        "cells": [{**asdict(cell), **row(hits_of(cell), hits_of(Cell(cell.epsilon, NONE)))} for cell in cells],
    }


def _as_json(figures: GapFigures) -> dict[str, Any]:
    def pair(figure: Figure) -> dict[str, float]:
        return {"value": figure.value, "low": figure.low, "high": figure.high}

    return {
        "recall_at_10": pair(figures.recall),
        "gap": pair(figures.gap),
        "kept": pair(figures.kept),
        "gap_left": None if figures.left is None else pair(figures.left),
    }
