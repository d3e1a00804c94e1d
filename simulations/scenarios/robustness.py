"""`--scenario robustness`: every rule under every attack, with and without privacy, on one cohort.

A cell is one federation: `num_byzantine` sites attack, and the rule is told to bear so many. The mean bears none and
is told so. With attackers, a cell without an attack shows what the protection itself costs.

What a cell kept is its recall at 10 over the reference: the attack-free plain mean at the same epsilon. One reference
for all rules, so that a rule which loses recall by itself cannot hide it. A rule that refuses the cohort is recorded
with its reason.

Every cell is repeated over seeds, each with its own cut of the patients and its own first model, and is their mean: one
seed's differences of a tenth are chance. What is measured is kept at once, so that a grid that was stopped goes on with
the next cell. The report shows the sites of one federation: the first seed's reference at the last epsilon.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.config.schema import RunConfig
from common.encoders.dual import DualEncoder
from common.errors import BudgetExhausted, ConfigError
from server.checkpoint import RunState
from server.model.ended_run import PUBLIC_MODEL_FILE
from server.report.write import write_run
from simulations.federation.checks import check_attackers
from simulations.federation.members import each_its_own, in_cohort
from simulations.measurement.backdoor import backdoor_control, backdoor_success
from simulations.scenarios.all_cells import Scenario, measure_all
from simulations.scenarios.cells import Found, GridWatcher, Unwatched, at_epsilon
from simulations.scenarios.grid import (
    MEAN,
    NO_ATTACK,
    Cell,
    average,
    check_grid,
    compared,
    grid,
    recalls_of,
)
from simulations.scenarios.simulate import Clock, calibrated, pooled_of, prepare
from simulations.scenarios.trained import Trained, train
from simulations.studies.consortium import Consortium
from strategies.composition import build_aggregator

RESULTS_FILE = "robustness.json"
REFERENCE_FOLDER = "reference"
BACKDOOR = "backdoor"
BACKDOOR_RATES = {"backdoor_success": backdoor_success, "backdoor_control": backdoor_control}
"""How often an image with the trigger finds what the attackers want, and how often it does without the trigger."""
FEWEST_RESAMPLES = 10
"""Intervals of a single cell are not shown; the least that the config allows."""


def simulate_robustness(config: RunConfig, folder: Path, *, watcher: GridWatcher) -> dict[str, Any]:
    """Run every cell of the grid and write one run folder.

    The data are cut as `simulate` cuts them: by `data.split`, or with the seed.

    Returns:
        The summary, with `robustness`.

    Raises:
        BudgetExhausted: policy.epsilon is below an epsilon of the grid.
        CheckFailed: The reference changed nothing.
        CheckpointError: The folder holds results of another config.
        WardroundError: The config or the studies cannot be used.
    """
    check_grid(config)
    scenario = Scenario(
        cells=grid(config.robustness),
        repeats=config.robustness.repeats,
        shown=Cell.reference(config.robustness.epsilons[-1]),
        phase="grid",
        results_file=RESULTS_FILE,
        prepared=_prepared,
    )
    done = measure_all(config, folder, scenario, watcher=watcher)
    starts = [pooled_of(runner.start, runner.consortium, config) for runner in done.runners]
    done.summary["robustness"] = {
        "num_sites": len(done.runners[0].consortium.sites),
        "repeats": len(starts),
        "start": {name: average([recalls_of(one)[name] for one in starts]) for name in recalls_of(starts[0])},
        "chance_recall_at_10": average([one["chance_recall_at_10"] for one in starts]),
        **compared(done.found),
    }
    write_run(folder, done.summary, done.rounds)
    return done.summary


def attackers_of(state: RunState, attackers: Sequence[str]) -> dict[str, Any]:
    """What the server made of some sites.

    Args:
        state: After the last round.
        attackers: The sites that attacked.

    Returns:
        Their drops, reason to number over all of them, and their mean share of the weight together over the rounds
        that changed the model; None where the rule gives no such share or there are none.
    """
    drops = Counter(
        record["dropped"][site] for record in state.rounds for site in attackers if site in record["dropped"]
    )
    shares = [
        sum(record["weights"].get(site, 0.0) for site in attackers)
        for record in state.rounds
        if record["outcome"] == "updated"
    ]
    return {
        "attacker_drops": dict(sorted(drops.items())),
        "attacker_weight": sum(shares) / len(shares) if shares and attackers else None,
    }


def _prepared(config: RunConfig, folder: Path, clock: Clock) -> _Runner:
    """What runs the cells of one seed: its studies read, its first model fitted."""
    consortium, start = prepare(_as_read(config), clock, kept=folder / PUBLIC_MODEL_FILE)
    most = max(config.robustness.num_byzantine)
    check_attackers(replace(config, attack=replace(config.attack, num_sites=most)), len(consortium.sites))
    return _Runner(config, consortium, start, folder, clock)


class _Runner:
    """Runs cells over one prepared consortium."""

    def __init__(
        self, config: RunConfig, consortium: Consortium, start: DualEncoder, folder: Path, clock: Clock
    ) -> None:
        self.config, self.consortium, self.start, self._folder = config, consortium, start, folder
        self._configs = {}
        for epsilon in config.robustness.epsilons:
            found = in_cohort(at_epsilon(config, epsilon), consortium, each_its_own(consortium))
            if found.privacy.calibrate:
                found = calibrated(found, consortium, start, folder / f"epsilon-{epsilon}", clock)
            self._configs[epsilon] = found

    def shown(self, cell: Cell) -> Trained:
        """The federation that the report shows, with all its intervals; its checkpoint and ledgers stay."""
        trained = self._train(cell.changed(self._configs[cell.epsilon]), self._folder / REFERENCE_FOLDER)
        if trained.problem is not None:
            raise type(trained.problem)(f"{cell.label}: {trained.problem}")
        return trained

    def measure(self, cell: Cell, before: Mapping[Cell, Found]) -> Found:  # noqa: ARG002 - as of any scenario
        """Run a cell; nothing of it stays but the result."""
        begun = time.monotonic()
        config = cell.changed(self._configs[cell.epsilon])
        config = replace(config, evaluation=replace(config.evaluation, num_bootstrap=FEWEST_RESAMPLES))
        try:
            build_aggregator(config.aggregator, seed=config.seed)
        except ConfigError as refusal:
            return _refused(str(refusal), rounds_updated=0, seconds=time.monotonic() - begun)
        with tempfile.TemporaryDirectory(prefix="wardround-") as folder:
            trained = self._train(config, Path(folder) / "cell")
        return {**self.found(cell, trained), "seconds": time.monotonic() - begun}

    def found(self, cell: Cell, trained: Trained) -> Found:
        """What a cell's federation came to."""
        state = trained.state
        attackers = self.consortium.sites[-cell.num_byzantine :] if cell.attack != NO_ATTACK else ()
        updated = sum(record["outcome"] == "updated" for record in state.rounds)
        told = attackers_of(state, attackers)
        if isinstance(trained.problem, BudgetExhausted):
            raise BudgetExhausted(f"{cell.label}: {trained.problem}")
        if trained.problem is not None:
            outcome = state.rounds[-1]["outcome"] if state.rounds else str(trained.problem)
            return {**_refused(outcome, rounds_updated=updated, seconds=None), **told}
        return {
            "refusal": None,
            **recalls_of(trained.pooled),
            **self._backdoor(cell, trained),
            "rounds_updated": updated,
            **told,
            "seconds": None,
        }

    def _backdoor(self, cell: Cell, trained: Trained) -> dict[str, float | None]:
        if cell.attack != BACKDOOR:
            return dict.fromkeys(BACKDOOR_RATES)
        return {name: rate(trained.model, self.consortium, trained.config) for name, rate in BACKDOOR_RATES.items()}

    def _train(self, config: RunConfig, folder: Path) -> Trained:
        cut = each_its_own(self.consortium)
        return train(config, self.consortium, self.start, cut=cut, folder=folder, observer=Unwatched())


def _refused(reason: str, *, rounds_updated: int, seconds: float | None) -> Found:
    return {
        "refusal": reason,
        **dict.fromkeys(("recall_at_10", "codes_recall_at_10", *BACKDOOR_RATES)),
        "rounds_updated": rounds_updated,
        "attacker_drops": {},
        "attacker_weight": None,
        "seconds": seconds,
    }


def _as_read(config: RunConfig) -> RunConfig:
    """The config that the studies are read with: it names the backdoor where a cell will need its images."""
    if BACKDOOR not in config.robustness.attacks:
        return config
    return Cell(config.privacy.epsilon, max(config.robustness.num_byzantine), MEAN, BACKDOOR).changed(config)
