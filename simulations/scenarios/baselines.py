"""`--scenario baselines`: what federation, privacy and the loss cost, on one cohort, over splits or seeds.

| name | who trains, and how |
| --- | --- |
| public_only | nobody: the model fitted to the public anchors |
| site_alone | each site by itself without privacy; the best one is shown |
| federated, federated_epsilon_8, federated_epsilon_2 | all sites, without privacy or with each site's own noise |
| centralised, centralised_in_batch | one place that holds all studies, with the run's loss or in-batch contrast |

Each is measured over one gallery: all sites' held-out studies together. What is measured is kept at once, so that a
run that was stopped goes on with the next baseline.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from client.data.splits import split_names
from common.config.load import config_as_yaml
from common.config.schema import RunConfig
from common.encoders.dual import DualEncoder
from common.errors import ConfigError
from common.files import write_atomically
from server.model.ended_run import CONFIG_FILE
from server.report.build import build_summary
from server.report.write import write_run
from simulations.federation.checks import check_names
from simulations.federation.members import Cut, in_cohort
from simulations.scenarios.baseline_groups import FEDERATIONS, alone_kept, baseline_groups, groups_kept, with_alone
from simulations.scenarios.over_repeats import mean_of, over_repeats, told_by
from simulations.scenarios.simulate import Clock, Watcher, calibrated, facts_of, pooled_of, prepare, rates_of
from simulations.scenarios.trained import Trained, train
from simulations.studies.consortium import Consortium

RESULTS_FILE = "baselines.json"
SHOWN = "federated_epsilon_8"
"""The baseline whose sites and groups the report shows: means over the repeats, rounds and drops of the first."""

ALONE = "site_alone"

Found = dict[str, Any]
"""Recall at 10 of a baseline in one repeat, and what is kept of groups and sites."""
RATES = ("recall_at_10", "codes_recall_at_10")


@dataclass(frozen=True)
class Baseline:
    """One way to train: a change of the config, and who holds the studies."""

    change: Callable[[RunConfig], None]
    cuts: Callable[[Consortium], list[Cut]]
    """Several cuts are several trainings, of which the best counts."""


def _at_epsilon(epsilon: float | None) -> Callable[[RunConfig], None]:
    def change(config: RunConfig) -> None:
        config.privacy.epsilon = epsilon

    return change


def _in_batch(config: RunConfig) -> None:
    config.privacy.epsilon, config.loss.name = None, "in_batch"


def _untrained(config: RunConfig) -> None:
    config.federation.rounds = 0


def _together(consortium: Consortium) -> list[Cut]:
    return [{site: [site] for site in consortium.sites}]


def _alone(consortium: Consortium) -> list[Cut]:
    return [{site: [site]} for site in consortium.sites]


def _pooled(consortium: Consortium) -> list[Cut]:
    return [{"centre": list(consortium.sites)}]


BASELINES = {
    "public_only": Baseline(_untrained, _together),
    ALONE: Baseline(_at_epsilon(None), _alone),
    "federated": Baseline(_at_epsilon(None), _together),
    "federated_epsilon_8": Baseline(_at_epsilon(8.0), _together),
    "federated_epsilon_2": Baseline(_at_epsilon(2.0), _together),
    "centralised": Baseline(_at_epsilon(None), _pooled),
    "centralised_in_batch": Baseline(_in_batch, _pooled),
}


def simulate_baselines(config: RunConfig, folder: Path, *, watcher: Watcher) -> dict[str, Any]:
    """Run every baseline over every split or seed and write one run folder.

    Returns:
        The summary, with `baselines`.

    Raises:
        BudgetExhausted: policy.epsilon is below a baseline's epsilon.
        CheckFailed: A federation changed nothing.
        WardroundError: The config or the studies cannot be used.
    """
    check_names(config)
    started_at, clock = datetime.now(UTC), Clock(watcher)
    write_atomically(folder / CONFIG_FILE, config_as_yaml(config).encode())
    results = _read_results(folder)
    shown: tuple[RunConfig, dict[str, Any], list[dict[str, Any]]] | None = None
    for label, repeat in _repeats(config):
        missing = [name for name in BASELINES if label not in results.setdefault(name, {})]
        if shown is None or "held_out_share" not in results[SHOWN].get(label, {}):
            missing = [name for name in BASELINES if name in {*missing, SHOWN}]
        if not missing:
            continue
        consortium, model = prepare(repeat, clock)
        for name in missing:
            baseline, found = BASELINES[name], results[name]
            trained = [
                _train(repeat, baseline, cut, consortium, model, folder / "baselines" / label / name / str(i), clock)
                for i, cut in enumerate(baseline.cuts(consortium))
            ]
            best = max(trained, key=lambda done: done.pooled["recall_at_10"])
            found[label] = _kept(name, trained, best)
            if name == SHOWN:
                best.pooled["start"] = rates_of(pooled_of(model, consortium, repeat))
                facts = facts_of(best.config, consortium, model, started_at, clock, pooled=best.pooled)
                summary = build_summary(best.config, best.state, facts)
                with_alone(summary, results[ALONE][label].get("sites", {}))
                found[label]["told"] = told_by(summary, best.state.rounds)
                found[label]["held_out_share"] = consortium.held_out_share
                shown = shown or (best.config, summary, best.state.rounds)
            write_atomically(folder / RESULTS_FILE, json.dumps(results, indent=1).encode())
    if shown is None:
        raise ConfigError("baselines: nothing to repeat; give baselines.repeats or baselines.splits")
    summary, rounds = over_repeats(*shown, [rates["told"] for rates in results[SHOWN].values()])
    summary["seconds"] = time.monotonic() - clock.started
    summary["timings"] |= dict.fromkeys(("rounds_seconds", "evaluation_seconds"))  # of many trainings, not told apart
    summary["baselines"] = {
        name: {metric: [rates[metric] for rates in found.values()] for metric in RATES}
        for name, found in results.items()
    }
    summary["baseline_groups"] = baseline_groups(
        {name: [rates.get("groups") for rates in results[name].values()] for name in FEDERATIONS},
        held_out_share=mean_of([rates["held_out_share"] for rates in results[SHOWN].values()]),
    )
    write_run(folder, summary, rounds)
    return summary


def _kept(name: str, trained: Sequence[Trained], best: Trained) -> Found:
    """What is kept of a baseline in one repeat."""
    found: Found = {
        "recall_at_10": best.pooled["recall_at_10"],
        "codes_recall_at_10": best.pooled["codes"]["recall_at_10"],
    }
    if name in FEDERATIONS:
        found["groups"] = groups_kept(best)
    if name == ALONE:
        found["sites"] = alone_kept(trained)
    return found


def _train(
    repeat: RunConfig,
    baseline: Baseline,
    cut: Cut,
    consortium: Consortium,
    start: DualEncoder,
    folder: Path,
    clock: Clock,
) -> Trained:
    config = copy.deepcopy(repeat)
    baseline.change(config)
    consortium = consortium.trained_by(config.loss)
    config = in_cohort(config, consortium, cut)
    if config.privacy.calibrate:
        config = calibrated(config, consortium, start, folder, clock)
    trained = train(config, consortium, start, cut=cut, folder=folder, observer=clock.watcher)
    if trained.problem is not None:
        raise type(trained.problem)(f"{folder.parent.name}: {trained.problem}")
    return trained


def _repeats(config: RunConfig) -> Iterator[tuple[str, RunConfig]]:
    """One config a split where the data set has fixed ones, else one a seed."""
    fixed = Path(config.data.root) / "splits.csv"
    splits = config.baselines.splits or (split_names(fixed) if config.data.root and fixed.exists() else [])
    for split in splits:
        yield split, replace(config, data=replace(config.data, split=split))
    if not splits:
        for number in range(config.baselines.repeats):
            yield f"seed-{config.seed + number}", replace(config, seed=config.seed + number)


def _read_results(folder: Path) -> dict[str, dict[str, Found]]:
    path = folder / RESULTS_FILE
    return json.loads(path.read_bytes()) if path.exists() else {}
