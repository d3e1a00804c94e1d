"""A run small enough for seconds, and one that is finished and shared."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded: two test files run at a time, on two cores

import pytest
import torch
from flwr.supercore.task_identity import TaskIdentity

from common.config.load import config_digest, load_config
from common.config.schema import RunConfig
from server.checkpoint import RunState, load_state
from server.model.ended_run import read_ended_run
from server.model.export import export_model
from simulations.federation.members import RandomnessOf
from simulations.scenarios.simulate import simulate

TINY = (
    "data.synthetic.num_sites=3",
    "data.synthetic.patients_per_site=80",  # enough are held out at each to be measured
    "data.synthetic.public_patients=80",
    "data.synthetic.image_size=32",
    "encoder.image_size=32",
    "encoder.patch_size=8",
    "encoder.width=16",
    "encoder.num_heads=2",
    "encoder.image_depth=1",
    "encoder.report_depth=1",
    "encoder.embedding_dim=16",
    "code.bit_width=64",
    "code.num_centres=8",
    "public_fit.steps=10",
    "public_fit.validation_fraction=0.25",  # twenty patients, the fewest that are kept
    "privacy.calibrate=false",
    "aggregator.name=mean",  # three sites are too few to lose one and still bear one
    "aggregator.num_byzantine=0",
    "federation.rounds=2",
    "evaluation.num_bootstrap=50",
    "workers=1",
)
NOT_PRIVATE = "privacy.epsilon=null"


class QuietWatcher:
    """A `Watcher` that nobody looks at."""

    def phase(self, name: str) -> None:
        """See `Watcher`."""

    def studies_read(self, num_studies: int) -> None:
        """See `Watcher`."""

    def widths_measured(self, number: int, of: int) -> None:
        """See `Watcher`."""

    def foretold(self, sentence: str) -> None:
        """See `Watcher`."""

    def round_opened(self, round_number: int, asked: tuple[str, ...]) -> None:
        """See `Observer`."""

    def site_answered(self, site: str, problem: str | None) -> None:
        """See `Observer`."""

    def round_committed(self, state: RunState) -> None:
        """See `Observer`."""


@dataclass(frozen=True)
class FinishedRun:
    """A run folder with what its run returned and left."""

    config: RunConfig
    folder: Path
    summary: dict[str, Any]
    state: RunState

    @property
    def model(self) -> dict[str, bytes]:
        """The final arrays as bytes: equal only bit by bit."""
        return {name: array.tobytes() for name, array in self.state.arrays["model"].items()}


TinyRun = Callable[..., FinishedRun]


@pytest.fixture(scope="session")
def tiny_overrides(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Config overrides of a run of two rounds; its cohort and features are cached for the session."""
    return [*TINY, f"encoder.cache={tmp_path_factory.mktemp('cache')}"]


@pytest.fixture(scope="session")
def tiny_run(tiny_overrides: list[str]) -> TinyRun:
    """Runs `simulate` on the tiny cohort, without privacy unless an override asks for it."""

    def run(folder: Path, *overrides: str, randomness: RandomnessOf | None = None) -> FinishedRun:
        config = load_config([*tiny_overrides, NOT_PRIVATE, *overrides])
        summary = simulate(config, folder, watcher=QuietWatcher(), randomness=randomness)
        return FinishedRun(config, folder, summary, load_state(folder, config_digest=config_digest(config)))

    return run


@pytest.fixture(scope="session")
def finished_run(tiny_run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """Two rounds without privacy; to be read, not changed."""
    return tiny_run(tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture(scope="session")
def exported_model(finished_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the finished run's model; to be read, not changed."""
    return export_model(read_ended_run(finished_run.folder), tmp_path_factory.mktemp("exported") / "model").folder


@pytest.fixture(scope="session")
def quiet_watcher() -> QuietWatcher:
    """Watches and says nothing."""
    return QuietWatcher()


@pytest.fixture
def flower_runtime() -> None:
    """The process-wide numbers that Flower's messages read and its runtimes set."""
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 0


@pytest.fixture(autouse=True)
def torch_threads() -> Iterator[None]:
    """Leave the number of torch's threads as it was: a simulation sets it for its process."""
    threads = torch.get_num_threads()
    yield
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
