"""`wardround bench round`: what a federated round costs beside the training: 8 sites that do nothing, every layer else.

A round is the task's encoding, the sites' replies, admission, the mean, the step and the checkpoint with its fsync.
Bound of a round: its bytes moved once, that is 8 updates and the model copied in memory, without any disk. Bound of
a checkpoint: the same bytes written to the same folder and flushed, without any format. Each size has a process of
its own, so that its peak memory is its own.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from common.config.load import load_config
from common.config.schema import RunConfig
from server.app import build_server_app
from server.checkpoint import RunState, save_state
from server.recorder import NoRecorder
from server.setup import Setup
from simulations.benchmarks.noop import build_noop_app, constant_arrays, zero_state
from simulations.benchmarks.report import Row, peak_mib
from simulations.flower.ray_engine import run_on_ray
from simulations.runtime import run_in_process

NUM_SITES = 8
NUM_WORKERS = 2
SIZES = {"1M": 1_000_000, "11M": 11_000_000}
NUM_WARM_UP = 3
NUM_ROUNDS = {"1M": 30, "11M": 10}
NUM_PEER_ROUNDS = 5
PEER = "flower ray simulation"

Result = TypeVar("Result")
Run = Callable[[ServerApp, ClientApp], None]


def bench_round() -> list[Row]:
    """A round and its checkpoint at each size, and the same apps on Flower's Ray simulation where Ray is installed."""
    has_ray = importlib.util.find_spec("ray") is not None
    rows = []
    for label, num_values in SIZES.items():
        peer_seconds = _alone(time_on_ray, num_values) if has_ray else None
        rows += _alone(partial(time_here, label=label, peer_seconds=peer_seconds), num_values)
    return rows


def time_here(num_values: int, *, label: str, peer_seconds: float | None) -> list[Row]:
    """Rows of a round and of its checkpoint on the in-process runtime."""
    torch.set_num_threads(NUM_WORKERS)
    run = partial(_in_process, num_workers=NUM_WORKERS)
    with tempfile.TemporaryDirectory() as name:
        folder, state = Path(name), zero_state(num_values)
        round_seconds = time_rounds(run, state, folder, num_rounds=NUM_ROUNDS[label])
        peak = peak_mib()
        checkpoint_seconds = _median(lambda: save_state(state, folder))
        flush_seconds = time_flush(4 * num_values, folder)
    size = f"{label} float32"
    return [
        Row(
            name=f"round, {size}",
            seconds=round_seconds,
            peak_mib=peak,
            peer=PEER if peer_seconds is not None else None,
            peer_seconds=peer_seconds,
            bound_seconds=time_copies(num_values),
        ),
        Row(name=f"its checkpoint, {size}", seconds=checkpoint_seconds, bound_seconds=flush_seconds),
    ]


def time_on_ray(num_values: int) -> float:
    """Median seconds of a round of the same apps on Flower's Ray simulation; its start is not counted."""
    run = partial(run_on_ray, num_sites=NUM_SITES, num_workers=NUM_WORKERS)
    with tempfile.TemporaryDirectory() as folder:
        return time_rounds(run, zero_state(num_values), Path(folder), num_rounds=NUM_PEER_ROUNDS)


def time_rounds(run: Run, state: RunState, folder: Path, *, num_rounds: int) -> float:
    """Median seconds from commit to commit, after the warm-up.

    Args:
        run: Runs a ServerApp against `NUM_SITES` copies of a ClientApp.
        state: The run's state; changed.
        folder: Receives the checkpoints.
        num_rounds: Rounds that count.
    """
    model = state.arrays["model"]
    stopwatch = _Stopwatch()
    setup = Setup(
        config=_config(NUM_WARM_UP + num_rounds),
        trained=tuple(model),
        privacy=lambda band: None,  # noqa: ARG005 - without privacy
        folder=folder,
        state=state,
        observer=stopwatch,
        recorder=NoRecorder(),
    )
    run(build_server_app(setup), build_noop_app(sum(array.size for array in model.values())))
    seconds = [after - before for before, after in pairwise(stopwatch.committed_at)]
    return statistics.median(seconds[NUM_WARM_UP - 1 :])


def time_copies(num_values: int) -> float:
    """Median seconds to copy `NUM_SITES` updates and one model from memory to memory."""
    sources = [np.concatenate(list(constant_arrays(num_values).values())) for _ in range(NUM_SITES + 1)]
    targets = [np.empty_like(source) for source in sources]

    def copy_all() -> None:
        for source, target in zip(sources, targets, strict=True):
            np.copyto(target, source)

    return _median(copy_all)


def time_flush(num_bytes: int, folder: Path) -> float:
    """Median seconds to write so many bytes over a file and wait for the disk."""
    content = np.full(num_bytes, 1, dtype=np.uint8).data

    def write() -> None:
        with (folder / "flushed").open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    return _median(write)


class _Stopwatch:
    """An `Observer` that notes when each round was committed; the last measurement trains nothing and is left out."""

    def __init__(self) -> None:
        self.committed_at: list[float] = []

    def round_opened(self, round_number: int, asked: tuple[str, ...]) -> None:
        """See `Observer`."""

    def site_answered(self, site: str, problem: str | None) -> None:
        """See `Observer`.

        Raises:
            RuntimeError: A site was dropped: the round would be cheaper than it says.
        """
        if problem is not None:
            raise RuntimeError(f"{site} was dropped ({problem}); a benchmark's round needs every site")

    def round_committed(self, state: RunState) -> None:
        """See `Observer`."""
        if len(self.committed_at) < state.rounds_completed:
            self.committed_at.append(time.perf_counter())


def _in_process(server: ServerApp, sites: ClientApp, *, num_workers: int) -> None:
    run_in_process(server, [sites] * NUM_SITES, num_workers=num_workers)


def _config(num_rounds: int) -> RunConfig:
    # The mean: what a rule costs is the matter of bench aggregation.
    mean = ("aggregator.name=mean", "aggregator.num_byzantine=0")
    return load_config(["privacy.epsilon=null", f"federation.rounds={num_rounds}", "federation.quorum=1.0", *mean])


def _alone(measure: Callable[[int], Result], num_values: int) -> Result:
    """Measure in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(measure, num_values).result()


def _median(action: Callable[[], None], *, repeats: int = 9) -> float:
    return statistics.median(_times(action, repeats))


def _times(action: Callable[[], None], repeats: int) -> Iterator[float]:
    for _ in range(repeats):
        started = time.perf_counter()
        action()
        yield time.perf_counter() - started
