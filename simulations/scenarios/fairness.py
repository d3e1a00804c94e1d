"""`--scenario fairness`: every remedy against one group's gap, with and without privacy, on one cohort.

A cell is one federation. Its accuracy is the recall at 10 over one gallery of all sites, its gap how much less of the
group's images find their report than of all others'. Both are held against the untreated federation at the same
epsilon, on the same patients, and are means over seeds, each with its own cut of the patients and its own first model.
What remedies read of the untreated federation, the recall of each site, is read as that one released it. What
thresholds by group make of the untreated federation's decisions is told beside (`group_thresholds.py`).

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

from client.site import HeldOut
from client.training.calibrate import calibrate
from common.config.schema import EncoderConfig, RunConfig
from common.encoders.dual import DualEncoder
from common.encoders.public_fit import fresh_adversary
from common.encoders.public_parts import part_public
from common.fairness.emphasis import cut_of
from common.retrieval.paired import Paired
from common.seeds import numpy_generator
from server.checkpoint import RunState
from server.model.ended_run import PUBLIC_MODEL_FILE
from server.report.write import write_run
from simulations.federation.checks import check_cohort
from simulations.federation.members import each_its_own, in_cohort
from simulations.measurement.group_gap import GapBootstrap, GapFigures, Hits, Queries
from simulations.measurement.group_thresholds import decided_about, threshold_trial
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
    """What runs the cells of one seed: its studies read, and a first model fitted, for each encoder of the cells."""
    plain = untreated(config)

    def seen_by(encoder: EncoderConfig) -> _Seen:
        own = folder if encoder == plain.encoder else folder / f"{encoder.tone}-{encoder.words}"
        return _Seen(encoder, *prepare(replace(plain, encoder=encoder), clock, kept=own / PUBLIC_MODEL_FILE))

    encoders = [plain.encoder, *(cell.changed(config, {}).encoder for cell in cells_of(config))]
    distinct = [encoder for place, encoder in enumerate(encoders) if encoder not in encoders[:place]]
    runner = _Runner(config, tuple(seen_by(encoder) for encoder in distinct), folder)
    check_cohort(config, len(runner.plain.consortium.sites))
    return runner


@dataclass(frozen=True)
class _Seen:
    """Studies as the frozen part of a first model sees them, and the part that trains on top of it."""

    encoder: EncoderConfig
    consortium: Consortium
    start: DualEncoder

    @property
    def held_out(self) -> HeldOut:
        """The held-out studies of all sites."""
        return self.consortium.held_out(self.consortium.sites)

    def hits(self, model: DualEncoder, config: RunConfig) -> Hits:
        """What a model finds of the held-out images."""
        return first_ten(model, self.held_out.to(config.device))[0]

    def decisions(self, trained: Trained) -> dict[str, Any] | None:
        """What thresholds by group make of a federation's decisions; None where its sites tell no scores."""
        public = part_public(self.consortium.public().to(trained.config.device), trained.config)
        trial = threshold_trial(trained.model, self.held_out.to(trained.config.device), public, trained.config)
        return None if trial is None else trial.as_json()

    def start_of(self, config: RunConfig) -> DualEncoder:
        """The one start of all cells, with an adversary where the cell has one."""
        adversary = fresh_adversary(config)
        if adversary is None:
            return self.start
        start = copy.deepcopy(self.start)
        start.adversary = adversary.to(config.device)
        return start


@dataclass(frozen=True)
class _Runner:
    """Runs the cells of one seed over one cut of the patients.

    Attributes:
        config: The scenario's, with that seed.
        seen: The studies, by each encoder of the cells, that of the untreated federation first.
        folder: What is kept of the seed.
    """

    config: RunConfig
    seen: tuple[_Seen, ...]
    folder: Path

    @property
    def consortium(self) -> Consortium:
        """The studies of the untreated federation."""
        return self.plain.consortium

    @property
    def start(self) -> DualEncoder:
        """Its first model."""
        return self.plain.start

    @property
    def plain(self) -> _Seen:
        """The studies as the untreated federation sees them."""
        return self.seen[0]

    def seen_by(self, config: RunConfig) -> _Seen:
        """The studies as a cell's federation sees them."""
        return next(seen for seen in self.seen if seen.encoder == config.encoder)

    @property
    def queries(self) -> Queries:
        """Whose the held-out images are."""
        cut = cut_of(self.config)
        records = self.plain.held_out.records
        return Queries(
            np.array([record.patient_id for record in records]),
            np.array([cut.groups[cut.group_of(record)] for record in records]),
        )

    def shown(self, cell: Cell) -> Trained:
        """The federation that the report shows, with all its intervals; its checkpoint and ledgers stay."""
        return self._train(cell, self._config_of(cell, {}), self.folder / SHOWN_FOLDER)

    def measure(self, cell: Cell, before: Mapping[Cell, Found]) -> Found:
        """Run a cell; nothing of it stays but the result."""
        config = self._config_of(cell, before.get(Cell(cell.epsilon, NONE), {}).get("site_recall", {}))
        config = replace(config, evaluation=replace(config.evaluation, num_bootstrap=FEWEST_RESAMPLES))
        with tempfile.TemporaryDirectory(prefix="wardround-") as folder:
            return self.found(cell, self._train(cell, config, Path(folder) / "cell"))

    def found(self, cell: Cell, trained: Trained) -> Found:
        """What a cell's federation came to."""
        seen = self.seen_by(trained.config)
        hits = [round(float(hit), 6) for hit in seen.hits(trained.model, trained.config)]
        decisions = seen.decisions(trained) if cell.remedy == NONE else None
        return {"hits": hits, "site_recall": released_recall(trained.state), "decisions": decisions}

    def _config_of(self, cell: Cell, site_recall: Mapping[str, float]) -> RunConfig:
        config = cell.changed(self.config, site_recall)
        seen = self.seen_by(config)
        config = in_cohort(config, seen.consortium, each_its_own(seen.consortium))
        if not config.privacy.calibrate:
            return config
        anchors = part_public(seen.consortium.public(), config).anchors.to(config.device)
        return calibrate(config, anchors, seen.start_of(config), bands_of(seen.consortium)).config

    def _train(self, cell: Cell, config: RunConfig, folder: Path) -> Trained:
        seen = self.seen_by(config)
        cut, start = each_its_own(seen.consortium), seen.start_of(config)
        trained = train(config, seen.consortium, start, cut=cut, folder=folder, observer=Unwatched())
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

    start = [runner.plain.hits(runner.plain.start, config) for runner in runners]
    return {
        "attribute": config.mitigation.attribute,
        "group": config.remedies.group,
        "repeats": len(runners),
        "start": row(start, start),
        "cells": [{**asdict(cell), **row(hits_of(cell), hits_of(Cell(cell.epsilon, NONE)))} for cell in cells],
        "thresholds": _thresholds(config, runners, found),
    }


def _thresholds(
    config: RunConfig, runners: list[_Runner], found: Mapping[tuple[int, Cell], Found]
) -> list[dict[str, Any]]:
    """Of the untreated federation at each epsilon: decisions at one threshold, and at each group's own."""
    if config.fairness.epsilon is None:
        return []
    bootstrap = GapBootstrap(
        [decided_about(runner.plain.held_out.records, runner.config) for runner in runners],
        config.remedies.group,
        generator=numpy_generator(config.seed, "bootstrap", "thresholds"),
        num_resamples=config.evaluation.num_bootstrap,
    )

    def gaps(trials: list[dict[str, Any]], at: str) -> dict[str, Any]:
        true, false = ([np.array(trial[at][kind]) for trial in trials] for kind in ("true", "false"))
        named = {"true_positive": bootstrap.gap(true), "false_positive": bootstrap.gap(false)}
        return {name: figure.as_json() for name, figure in {**named, "odds": bootstrap.odds(true, false)}.items()}

    rows = []
    for epsilon in dict.fromkeys(config.remedies.epsilons):
        trials = [found[runner.config.seed, Cell(epsilon, NONE)]["decisions"] for runner in runners]
        each = {name: [trial["thresholds"][name] for trial in trials] for name in trials[0]["thresholds"]}
        means = {
            name: {end: float(np.mean([one[end] for one in own])) for end in ("value", "low", "high")}
            for name, own in each.items()
        }
        rows.append({"epsilon": epsilon, "groups": means, "public": gaps(trials, "public"), "own": gaps(trials, "own")})
    return rows


def _as_json(figures: GapFigures) -> dict[str, Any]:
    return {
        "recall_at_10": figures.recall.as_json(),
        "gap": figures.gap.as_json(),
        "kept": figures.kept.as_json(),
        "gap_left": None if figures.left is None else figures.left.as_json(),
    }
