"""`wardround bench data`: a hospital's whole archive, prepared, opened and trained on without lying in memory.

1. A worker opens a store in a process of its own: index, table, the cut into training and held-out patients, the public
   studies. The folders of the studies are looked at apart: `a look at ... files` is what a hospital's files add.
2. Linear heads train on features of 1,280 and 384 numbers, at the least sampling probability that calibration chooses.
3. An image tower trains on pixels of 224 x 224. On a CPU a step of a tenth of the archive takes an hour, so that a step
   here reads fewer; memory is the same, for a sample is read chunk after chunk.

Each is done with a tenth of the studies too: memory does not grow with them but for the table's columns. Peak memory
is the process's greatest resident memory: some 450 MiB are libraries. The arrays are read and never mapped: the pages
that the system keeps of them are its own, and it gives them up when another asks. `reading` is the time of a step's
reads, which pass beside the gradient on a thread; its bound is the step itself.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from client.deploy.own_studies import OwnStudies
from client.dp.randomness import SystemRandomness
from client.site import Site
from client.store.arrays import StoredArray
from client.store.index import IMAGES, REPORTS
from client.store.source import source_digest
from client.store.store import Prepared, StudyStore
from client.training.calibrate import SAMPLING_PROBABILITIES
from client.training.train import train
from common.config.load import config_digest, load_config
from common.config.schema import RunConfig
from common.encoders.dual import DualEncoder
from common.encoders.public_fit import fresh_model
from common.encoders.registry import ENCODERS
from common.encoders.whitened_head import WhitenedHead
from common.errors import DataError
from common.hashing.head import HashHead
from common.privacy.bands import band_of
from common.privacy.plan import privacy_plan
from common.service.cores import usable_cores
from common.wire.update import model_arrays
from simulations.benchmarks.data_store import Shapes, make_store, site_of
from simulations.benchmarks.report import Row, peak_mib

NUM_STUDIES = 200_000
NUM_FILES = 2_000
FEATURE_DIMS = (1280, 384)
"""Of the pretrained encoder's images and reports."""
IMAGE_SIZE, MAX_TOKENS = 224, 64
EXPECTED_PIXEL_STUDIES = 48
"""Of a step of the image tower."""
HEADS_STEPS, PIXEL_STEPS = 3, 2
COMMON = (
    "encoder.name=scratch",
    "encoder.embedding_dim=64",
    f"encoder.max_tokens={MAX_TOKENS}",
    "code.bit_width=128",
    "privacy.calibrate=false",
)
PIXELS = (
    "encoder.trainable=all",
    f"encoder.image_size={IMAGE_SIZE}",
    "encoder.patch_size=16",
    "training.chunk_size=16",
)

T = TypeVar("T")


class Measured(NamedTuple):
    """Seconds, seconds of reading among them, and the process's peak memory."""

    seconds: float
    reading: float
    peak_mib: float | None


def bench_data() -> list[Row]:
    """Opening, heads and pixels, of a tenth of the studies and of all.

    Raises:
        DataError: The disk is full.
    """
    rows = []
    for num_studies in (NUM_STUDIES // 10, NUM_STUDIES):
        rows += store_rows(num_studies)
    return [*rows, look_row(NUM_FILES)]


def store_rows(num_studies: int) -> list[Row]:
    """Of a store of so many studies."""
    what = f"{num_studies:,} studies"
    with tempfile.TemporaryDirectory(prefix="wardround-bench-") as name:
        folder = Path(name)
        begun = time.perf_counter()
        for kind in ("heads", "pixels"):
            make_store(folder / kind, config_of(kind, num_studies), shapes_of(kind), num_studies=num_studies)
        made = time.perf_counter() - begun
        opened = in_a_fresh_process(partial(measure_open, folder / "pixels", num_studies))
        heads = in_a_fresh_process(partial(measure_steps, folder / "heads", "heads", num_studies))
        pixels = in_a_fresh_process(partial(measure_steps, folder / "pixels", "pixels", num_studies))
    return [
        Row(name=f"made, {what}, twice", seconds=made),
        Row(name=f"open, {what}", seconds=opened.seconds, peak_mib=opened.peak_mib),
        Row(name=f"heads step, {what}", seconds=heads.seconds, peak_mib=heads.peak_mib),
        Row(name=f"heads reading, {what}", seconds=heads.reading, bound_seconds=heads.seconds),
        Row(name=f"pixels step, {what}", seconds=pixels.seconds, peak_mib=pixels.peak_mib),
        Row(name=f"pixels reading, {what}", seconds=pixels.reading, bound_seconds=pixels.seconds),
    ]


def look_row(num_files: int) -> Row:
    """How long it takes to see whether files have changed."""
    with tempfile.TemporaryDirectory(prefix="wardround-bench-") as name:
        for number in range(num_files):
            (Path(name) / f"{number}.png").touch()
        begun = time.perf_counter()
        source_digest([Path(name)], without=Path(name) / "state")
        return Row(name=f"a look at {num_files:,} files", seconds=time.perf_counter() - begun)


def in_a_fresh_process(action: Callable[[], T]) -> T:
    """What an action measures where nothing was done before."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(action).result()


def measure_open(folder: Path, num_studies: int) -> Measured:
    """Open a store and cut its studies, as a worker does before a run."""
    begun = time.perf_counter()
    own = _own(folder, _prepared(folder, config_of("pixels", num_studies)))
    own.private()
    own.held_out()
    return Measured(time.perf_counter() - begun, 0.0, peak_mib())


def measure_steps(folder: Path, kind: str, num_studies: int) -> Measured:
    """Train a few private steps on a store."""
    torch.set_num_threads(usable_cores())
    config = config_of(kind, num_studies)
    site = site_in(folder, config, kind)
    start = model_arrays(site.model)
    SystemRandomness().noise(1, standard_deviation=1.0)  # makes the table that noise is drawn from, once a process
    with timed_reads() as seconds:
        begun = time.perf_counter()
        train(site, start, round_number=1)
        taken = time.perf_counter() - begun
    num_steps = config.training.steps_per_round
    return Measured(taken / num_steps, sum(seconds) / num_steps, peak_mib())


@contextmanager
def timed_reads() -> Iterator[list[float]]:
    """Note the seconds of each read of an array in the block."""
    real, seconds = StoredArray.read, list[float]()

    def read(self: StoredArray, rows: NDArray[np.int64], *, pinned: bool = False) -> Tensor:
        begun = time.perf_counter()
        try:
            return real(self, rows, pinned=pinned)
        finally:
            seconds.append(time.perf_counter() - begun)

    StoredArray.read = read  # type: ignore[method-assign]
    try:
        yield seconds
    finally:
        StoredArray.read = real  # type: ignore[method-assign]


def config_of(kind: str, num_studies: int) -> RunConfig:
    """The run that trains on a kind of features."""
    if kind == "heads":
        probability, steps = SAMPLING_PROBABILITIES[0], HEADS_STEPS
    else:
        probability, steps = min(1.0, EXPECTED_PIXEL_STUDIES / num_studies), PIXEL_STEPS
    settings = (f"training.sampling_probability={probability}", f"training.steps_per_round={steps}")
    return load_config([*COMMON, *settings, *(PIXELS if kind == "pixels" else ())])


def shapes_of(kind: str) -> Shapes:
    """Rows of a kind of features."""
    if kind == "heads":
        return {IMAGES: (FEATURE_DIMS[:1], np.float32), REPORTS: (FEATURE_DIMS[1:], np.float32)}
    return {IMAGES: ((IMAGE_SIZE, IMAGE_SIZE), np.uint8), REPORTS: ((MAX_TOKENS,), np.int64)}


def site_in(folder: Path, config: RunConfig, kind: str) -> Site:
    """A hospital whose studies lie in a store."""
    prepared = _prepared(folder, config)
    own = _own(folder, prepared)
    private = own.private()
    model = _heads(config) if kind == "heads" else fresh_model(ENCODERS.load("scratch")(config.encoder), config)
    return Site(
        name="bench",
        config=config,
        config_digest=config_digest(config),
        model=model,
        start=model_arrays(model),
        private=private,
        held_out=own.held_out(),
        anchors=prepared.anchors.features,
        public_pairs=prepared.anchors.features,
        privacy=privacy_plan(config, band_of(private.num_patients)),
        accounts=None,
        randomness=lambda _: SystemRandomness(),
    )


def _heads(config: RunConfig) -> DualEncoder:
    generator = torch.Generator().manual_seed(0)
    image, report = (WhitenedHead(dim, config.encoder.embedding_dim) for dim in FEATURE_DIMS)
    for tower, dim in zip((image, report), FEATURE_DIMS, strict=True):
        tower.fit_to_public(torch.randn(2 * config.encoder.embedding_dim, dim, generator=generator))
    head = HashHead(
        embedding_dim=config.encoder.embedding_dim,
        bit_width=config.code.bit_width,
        num_centres=config.code.num_centres,
        generator=generator,
    )
    return DualEncoder(image, report, head)


def _prepared(folder: Path, config: RunConfig) -> Prepared:
    prepared = StudyStore(site_of(folder), config.encoder).open()
    if prepared is None:
        raise DataError(f"{folder}: the store that was made for the bench is gone; look at the room on its disk")
    return prepared


def _own(folder: Path, prepared: Prepared) -> OwnStudies:
    return OwnStudies.of(site_of(folder), prepared, load_config([]).loss)
