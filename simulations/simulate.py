"""One simulated run, from config to run folder: read, fit to the public anchors, federate, measure, report."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import torch

from common.config.load import config_as_yaml, config_digest
from common.config.schema import RunConfig
from common.encoders.dual import DualEncoder, trainable_names
from common.encoders.public_fit import fit_to_public, fresh_model, split_frozen
from common.encoders.registry import ENCODERS
from common.errors import CheckFailed
from common.files import write_atomically
from common.wire.update import load_into, model_arrays
from server.checkpoint import RunState, load_state, save_state
from server.federation import Observer
from server.report.build import RunFacts, build_summary
from server.report.render import Example, write_report
from server.report.summary import write_summary
from simulations.consortium import Consortium, read_consortium
from simulations.federate import Experiment, RandomnessOf, federate
from simulations.pooled import examples, pooled_metrics

CONFIG_FILE, ROUNDS_FILE = "config.yaml", "rounds.jsonl"


class Watcher(Observer, Protocol):
    """Who watches a simulation: a progress display, or nobody."""

    def phase(self, name: str) -> None:
        """A phase begins: prepare, public_fit, rounds or evaluation."""
        ...

    def studies_read(self, num_studies: int) -> None:
        """So many studies were read and encoded."""
        ...


@dataclass
class Clock:
    """Seconds by phase."""

    watcher: Watcher
    started: float = field(default_factory=time.monotonic)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase and tell the watcher."""
        self.watcher.phase(name)
        begun = time.monotonic()
        yield
        self.seconds[f"{name}_seconds"] = time.monotonic() - begun


def prepare(config: RunConfig, clock: Clock) -> tuple[Consortium, DualEncoder]:
    """The consortium's studies, and the model fitted to its anchors.

    Raises:
        ConfigError: A name in the config is unknown, or there are too few anchors.
        DataError: The studies cannot be read.
    """
    torch.set_num_threads(config.workers)
    encoder = ENCODERS.load(config.encoder.name)(config.encoder)
    with clock.phase("prepare"):
        consortium = read_consortium(config, encoder, progress=clock.watcher.studies_read)
    with clock.phase("public_fit"):
        model = fresh_model(encoder, config).to(config.device)
        fit_to_public(model, consortium.anchors().to(config.device), config)
        frozen, model = split_frozen(model)
        if frozen is not None:
            consortium = consortium.encoded_by(frozen, device=config.device)
    return consortium, model


def simulate(
    config: RunConfig, folder: Path, *, watcher: Watcher, randomness: RandomnessOf | None = None
) -> dict[str, Any]:
    """Run a consortium on this machine and write its run folder.

    A folder that holds a checkpoint of the same config is gone on with.

    Args:
        config: The run's configuration.
        folder: Run folder; new, or of the same run.
        watcher: Who watches.
        randomness: Source of private sampling and noise; for tests only, it takes the privacy away.

    Returns:
        The summary, as in `summary.json`.

    Raises:
        CheckFailed: No round changed the model; the summary and the report say so too.
        WardroundError: The config, the studies or the checkpoint cannot be used.
    """
    started_at, clock = datetime.now(UTC), Clock(watcher)
    consortium, model = prepare(config, clock)
    state = _open_folder(config, folder, model)
    experiment = Experiment(
        config=config,
        consortium=consortium,
        cut={site: [site] for site in consortium.sites},
        model=model,
        folder=folder,
        state=state,
        observer=watcher,
        randomness=randomness,
    )
    with clock.phase("rounds"):
        problem = federate(experiment)
    with clock.phase("evaluation"):
        start = _pooled(experiment)
        load_into(model, state.arrays["model"])
        pooled, shown = _pooled(experiment), examples(model, consortium, consortium.sites, config)
    facts = RunFacts(
        started_at=started_at.isoformat(),
        engine="inprocess",
        problem=problem,
        seconds=time.monotonic() - clock.started,
        timings=clock.seconds,
        data=_data_facts(config, consortium),
        num_trained=sum(state.arrays["model"][name].size for name in trainable_names(model)),
        pooled={**pooled, "start": {name: value for name, value in start.items() if isinstance(value, float)}},
    )
    summary = build_summary(config, state, facts)
    write_run(folder, summary, state.rounds, shown)
    if problem:
        raise CheckFailed(problem)
    return summary


def write_run(
    folder: Path, summary: dict[str, Any], rounds: Sequence[dict[str, Any]], shown: Sequence[Example] = ()
) -> None:
    """Write what people and machines read of a run: `summary.json`, `rounds.jsonl` and `report.html`."""
    lines = "".join(json.dumps(record) + "\n" for record in rounds)
    write_atomically(folder / ROUNDS_FILE, lines.encode())
    write_summary(folder, summary)
    write_report(folder, summary, rounds, examples=shown)


def _open_folder(config: RunConfig, folder: Path, model: DualEncoder) -> RunState:
    """The state that a folder holds, or a fresh one in a fresh folder."""
    digest = config_digest(config)
    if (folder / CONFIG_FILE).exists():
        return load_state(folder, config_digest=digest)
    state = RunState(digest, 0, {"model": model_arrays(model), "aggregator": {}, "optimizer": {}})
    # The checkpoint first: a folder with a config can always be gone on with.
    save_state(state, folder)
    write_atomically(folder / CONFIG_FILE, config_as_yaml(config).encode())
    return state


def _pooled(experiment: Experiment) -> dict[str, Any]:
    consortium = experiment.consortium
    held_out = consortium.held_out(consortium.sites).to(experiment.config.device)
    return pooled_metrics(experiment.model, held_out, experiment.config)


def _data_facts(config: RunConfig, consortium: Consortium) -> dict[str, Any]:
    return {
        "adapter": config.data.adapter,
        "num_studies": len(consortium.records),
        "num_public_studies": len(consortium.anchors().images),
        "num_bad_rows": len(consortium.bad_rows),
        "bad_rows": [{"file": row.file, "row": row.row, "reason": row.reason} for row in consortium.bad_rows[:20]],
        "anchors_digest": consortium.anchors_digest,
    }
