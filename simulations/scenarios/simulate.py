"""One simulated run, from config to run folder: read, fit to the public anchors, federate, measure, report."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import torch

from client.training.calibrate import calibrate
from common.config.load import config_as_yaml, config_digest
from common.config.schema import RunConfig
from common.encoders.dual import DualEncoder, trainable_names
from common.encoders.interface import Encoder
from common.encoders.public_fit import first_model, fresh_model, start_of
from common.encoders.public_parts import part_public
from common.encoders.registry import ENCODERS
from common.errors import AdmissionError, CheckpointError, PolicyRefusal, WardroundError
from common.files import write_atomically
from common.model.relevance import write_relevance
from common.privacy.bands import band_of
from common.privacy.forecast import Forecast, forecast
from common.wire.update import from_safetensors, load_into, model_arrays, to_safetensors
from server.checkpoint import RunState, load_state, save_state
from server.model.ended_run import CONFIG_FILE, PUBLIC_MODEL_FILE, START_MODEL_FILE
from server.model.relevance import measured_relevance, published_arrays
from server.report.build import RunFacts, build_summary
from server.report.write import write_run
from server.setup import Observer
from simulations.attacks.registry import ATTACKS
from simulations.federation.checks import check_cohort, check_names
from simulations.federation.federate import IN_PROCESS, Engine, Experiment, federate
from simulations.federation.members import RandomnessOf, each_its_own, in_cohort
from simulations.measurement.attacked import attacked_metrics
from simulations.measurement.certified import certified_metrics
from simulations.measurement.drawn import Drawn
from simulations.measurement.pooled import examples, first_ten, gain, pooled_metrics
from simulations.measurement.width_curve import width_curve
from simulations.studies.consortium import Consortium
from simulations.studies.read import read_consortium

CALIBRATION_FILE = "calibration.json"


class Watcher(Observer, Protocol):
    """Who watches a simulation: a progress display, or nobody."""

    def phase(self, name: str) -> None:
        """A phase begins: prepare, public_fit, calibrate, rounds or evaluation."""
        ...

    def studies_read(self, num_studies: int) -> None:
        """So many studies were read and encoded."""
        ...

    def widths_measured(self, number: int, of: int) -> None:
        """So many of the codes' widths were measured."""
        ...

    def foretold(self, sentence: str) -> None:
        """Whether noise will drown the run, before a patient is touched."""
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


def prepare(config: RunConfig, clock: Clock, *, kept: Path | None = None) -> tuple[Consortium, DualEncoder]:
    """The consortium's studies, and the model fitted to its anchors.

    Args:
        config: The run's configuration.
        clock: Times the two phases.
        kept: File of the fitted model, read where it exists and else written: a resumed run, and every process of
            a run, go on from the same bits.

    Raises:
        CheckpointError: The kept model is damaged or of another run.
        ConfigError: A name in the config is unknown, or there are too few anchors.
        DataError: The studies cannot be read.
    """
    torch.set_num_threads(config.workers)
    encoder = ENCODERS.load(config.encoder.name)(config.encoder)
    with clock.phase("prepare"):
        trigger = ATTACKS.load(config.attack.name).trigger
        consortium = read_consortium(config, encoder, progress=clock.watcher.studies_read, trigger=trigger)
    with clock.phase("public_fit"):
        model = _first_model(encoder, consortium, config, kept)
        start = start_of(model, part_public(consortium.public(), config).anchors, config)
        if start.frozen is not None:
            consortium = consortium.encoded_by(start.frozen, device=config.device)
    return consortium, start.model


def _first_model(encoder: Encoder, consortium: Consortium, config: RunConfig, kept: Path | None) -> DualEncoder:
    """The model that is kept, or one that is fitted now and kept."""
    if kept is not None and kept.exists():
        model = fresh_model(encoder, config).to(config.device)
        _load_kept(model, kept)
        return model
    model = first_model(encoder, part_public(consortium.public(), config).anchors, config)
    if kept is not None:
        write_atomically(kept, to_safetensors(model_arrays(model)))
    return model


def _load_kept(model: DualEncoder, kept: Path) -> None:
    try:
        load_into(model, from_safetensors(kept.read_bytes(), source=str(kept)))
    except AdmissionError as error:
        raise CheckpointError(f"{kept}: belongs to a run with another config.yaml; start the run anew") from error


def simulate(
    config: RunConfig,
    folder: Path,
    *,
    watcher: Watcher,
    engine: Engine = IN_PROCESS,
    randomness: RandomnessOf | None = None,
) -> dict[str, Any]:
    """Run a consortium on this machine and write its run folder.

    A folder that holds a checkpoint of the same config is gone on with.

    Args:
        config: The run's configuration.
        folder: Run folder; new, or of the same run.
        watcher: Who watches.
        engine: What calls the sites.
        randomness: Source of private sampling and noise; for tests only, it takes the privacy away.

    Returns:
        The summary, as in `summary.json`.

    Raises:
        BudgetExhausted: The sites' budgets ended the run early; the summary and the report say so too.
        CheckFailed: No round changed the model; the summary and the report say so too.
        PolicyRefusal: Noise is foretold to drown the run, and the policy refuses that; nothing was trained.
        WardroundError: The config, the studies or the checkpoint cannot be used.
    """
    started_at, clock = datetime.now(UTC), Clock(watcher)
    check_names(config)
    consortium, model = prepare(config, clock, kept=folder / PUBLIC_MODEL_FILE)
    config = in_cohort(config, consortium, each_its_own(consortium))
    if config.privacy.calibrate:
        config = calibrated(config, consortium, model, folder, clock)
    check_cohort(config, len(consortium.sites))
    foretold = foresee(config, consortium, watcher)
    state = open_folder(config, folder, model)
    experiment = Experiment(
        config=config,
        consortium=consortium,
        cut=each_its_own(consortium),
        model=model,
        folder=folder,
        state=state,
        observer=watcher,
        engine=engine,
        randomness=randomness,
    )
    with clock.phase("rounds"):
        problem = federate(experiment)
    with clock.phase("evaluation"):
        begun = model_arrays(model)
        held_out = consortium.held_out(consortium.sites).to(config.device)
        start, (found_at_start, _) = rates_of(pooled_of(model, consortium, config)), first_ten(model, held_out)
        load_into(model, state.arrays["model"])
        found, patients = first_ten(model, held_out)
        drawn = Drawn.of(model, held_out, config)
        pooled = {
            **pooled_of(model, consortium, config),
            "start": start,
            "certificate": None if drawn is None else certified_metrics(drawn, config),
            "widths": width_curve(model, held_out, drawn, config, measured=watcher.widths_measured),
            "attacked": attacked_metrics(model, held_out, config),
        }
        shown = examples(model, consortium, consortium.sites, config)
    facts = facts_of(config, consortium, model, started_at, clock, pooled=pooled, problem=problem)
    exact = config.evaluation.epsilon is None
    difference = gain(found_at_start, found, patients, config) if exact else None
    summary = build_summary(config, state, replace(facts, engine=engine.name, difference=difference, forecast=foretold))
    published = published_arrays(summary, start=begun, final=state.arrays["model"])
    validation = part_public(consortium.public(), config).validation
    write_relevance(folder, measured_relevance(model, published, validation, config))
    write_run(folder, summary, state.rounds, shown)
    if problem is not None:
        raise problem
    return summary


def calibrated(config: RunConfig, consortium: Consortium, model: DualEncoder, folder: Path, clock: Clock) -> RunConfig:
    """The config with the settings that public data ask for; what they follow from is kept in the folder.

    Raises:
        ConfigError: The rule does not know this kind of run.
    """
    with clock.phase("calibrate"):
        anchors = part_public(consortium.public(), config).anchors.to(config.device)
        found = calibrate(config, anchors, model, bands_of(consortium))
    write_atomically(folder / CALIBRATION_FILE, json.dumps(found.as_json(), indent=1).encode())
    return found.config


def foresee(config: RunConfig, consortium: Consortium, watcher: Watcher) -> Forecast | None:
    """Say whether noise will drown the run; only the sites' public bands are read of the studies.

    Raises:
        PolicyRefusal: It will, and the policy refuses that.
    """
    found = forecast(config, bands_of(consortium))
    if found is None:
        return None
    watcher.foretold(found.sentence)
    if found.is_hopeless and config.policy.refuse_hopeless:
        raise PolicyRefusal(f"policy.refuse_hopeless: {found.claim}; {found.remedy}; or set it to false")
    return found


def bands_of(consortium: Consortium) -> list[str]:
    """Public band of the training patients of each site."""
    return [band_of(consortium.private([site]).num_patients) for site in consortium.sites]


def open_folder(config: RunConfig, folder: Path, model: DualEncoder) -> RunState:
    """The state that a folder holds, or a fresh one in a fresh folder."""
    digest = config_digest(config)
    if (folder / CONFIG_FILE).exists():
        return load_state(folder, config_digest=digest)
    start = model_arrays(model)
    state = RunState.before_round_one(digest, start)
    write_atomically(folder / START_MODEL_FILE, to_safetensors(start))
    # The checkpoint first: a folder with a config can always be gone on with.
    save_state(state, folder)
    write_atomically(folder / CONFIG_FILE, config_as_yaml(config).encode())
    return state


def pooled_of(model: DualEncoder, consortium: Consortium, config: RunConfig) -> dict[str, Any]:
    """Retrieval over all sites' held-out studies together."""
    return pooled_metrics(model, consortium.held_out(consortium.sites).to(config.device), config)


def rates_of(pooled: dict[str, Any]) -> dict[str, float]:
    """The rates alone, without intervals and codes."""
    return {name: value for name, value in pooled.items() if isinstance(value, float)}


def facts_of(
    config: RunConfig,
    consortium: Consortium,
    model: DualEncoder,
    started_at: datetime,
    clock: Clock,
    *,
    pooled: dict[str, Any],
    problem: WardroundError | None = None,
) -> RunFacts:
    """What the summary needs beside the server's state."""
    return RunFacts(
        started_at=started_at.isoformat(),
        engine="inprocess",
        problem=str(problem) if problem is not None else None,
        seconds=time.monotonic() - clock.started,
        timings=clock.seconds,
        data={
            "adapter": config.data.adapter,
            "num_studies": len(consortium.records),
            "num_public_studies": len(consortium.public().images),
            "num_unpaired": {
                "without_report": consortium.unpaired.without_report,
                "without_image": consortium.unpaired.without_image,
                "trained": sum(record.lacks is not None for record in consortium.records),
            },
            "num_bad_rows": len(consortium.bad_rows),
            "bad_rows": [{"file": row.file, "row": row.row, "reason": row.reason} for row in consortium.bad_rows[:20]],
            "anchors_digest": consortium.anchors_digest,
            "remarks": consortium.remarks.sentences(),
            "left_out": [{"site": site, "patients_band": band} for site, band in consortium.left_out.items()],
        },
        num_trained=sum(model.get_parameter(name).numel() for name in trainable_names(model)),
        pooled=pooled,
    )
