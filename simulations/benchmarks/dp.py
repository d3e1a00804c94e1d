"""`wardround bench dp`: what patient-level privacy costs a step, in time and memory.

1. A 6M-parameter ViT dual encoder, batch 128, 2 threads: the private step (per-patient gradients, clip, noise from the
   operating system's entropy) beside the same step without privacy (the bound) and beside Opacus's hooks with its
   optimizer (the peer). Positions are frozen: neither Opacus's hooks nor the ghost path know a parameter that no layer
   owns. The steps alternate in one process, because the speed of a shared machine changes by the minute; rows that
   say CPU give user and system time over both threads instead of the wall clock.
2. Linear heads on cached features, 256 expected patients a step, one thread as a simulated site has: sampling, closed
   form, clip and noise.

Peak memory is that of a fresh process that does nothing else; some 400 MiB of it are libraries.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import NamedTuple, TypeVar

import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn

from client.dp.engine import PatientDpSgd
from client.dp.randomness import SystemRandomness
from client.dp.records import Gradients, Records
from common.config.load import load_config
from common.config.schema import RunConfig
from common.encoders.dual import DualEncoder, trainable_names
from common.encoders.public_fit import fresh_model
from common.encoders.registry import ENCODERS
from common.encoders.whitened_head import WhitenedHead
from common.hashing.head import HashHead
from common.losses.objective import Objective, Public, build_objective, embed_public
from simulations.benchmarks.report import Row, peak_mib

NUM_THREADS = 2
NUM_STEPS = 5
NUM_HEADS_STEPS = 50
CHUNK_SIZE = 8
PEER = "opacus hooks"
PRIVATE = ("vmap", "ghost")
TRANSFORMER = (
    "encoder.trainable=all",
    "encoder.width=256",
    "encoder.image_depth=4",
    "encoder.report_depth=3",
    "encoder.image_size=64",
    "encoder.patch_size=8",
)
FEATURE_DIMS = (1280, 384)
"""Of the pretrained encoder's images and reports."""

Result = TypeVar("Result")
Step = Callable[[], object]


class Seconds(NamedTuple):
    """Median time of a step: by the wall clock, and of the process over all its threads."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Workload:
    """A model, private studies and what they are compared with."""

    model: DualEncoder
    records: Records
    public: Public
    objective: Objective


def bench_dp() -> list[Row]:
    """Private steps of a transformer and of heads."""
    peaks = {name: _alone(partial(peak_of_steps, name)) for name in ("plain", *PRIVATE)}
    return [*transformer_rows(_alone(time_transformer), peaks), _alone(time_heads)]


def transformer_rows(seconds: Mapping[str, Seconds], peaks: Mapping[str, float | None]) -> list[Row]:
    """Rows of the wall clock and of CPU time."""
    rows = [Row(name="ViT 6M, no privacy", seconds=seconds["plain"].wall, peak_mib=peaks["plain"])]
    for name in PRIVATE:
        for unit, clock in (("", 0), (", CPU", 1)):
            rows.append(
                Row(
                    name=f"ViT 6M, {name}{unit}",
                    seconds=seconds[name][clock],
                    peak_mib=None if unit else peaks[name],
                    peer=PEER,
                    peer_seconds=seconds["opacus"][clock],
                    bound_seconds=seconds["plain"][clock],
                )
            )
    return rows


def time_transformer(batch: int = 128, overrides: tuple[str, ...] = TRANSFORMER) -> dict[str, Seconds]:
    """Seconds of a step of each kind, alternating."""
    torch.set_num_threads(NUM_THREADS)
    steps = {name: step_of(name, transformer(batch, overrides)) for name in ("plain", *PRIVATE, "opacus")}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Full backward hook is firing")  # Opacus's, on embeddings
        return _alternating(steps, NUM_STEPS)


def peak_of_steps(name: str) -> float | None:
    """Peak memory in MiB of a process that makes steps of one kind."""
    torch.set_num_threads(NUM_THREADS)
    step = step_of(name, transformer(128, TRANSFORMER))
    for _ in range(2):
        step()
    return peak_mib()


def time_heads(num_patients: int = 853, overrides: tuple[str, ...] = ()) -> Row:
    """A step of the engine on cached features, sampling and noise included."""
    torch.set_num_threads(1)
    work = heads(num_patients, load_config(["encoder.embedding_dim=64", "code.bit_width=128", *overrides]))
    engine = _engine("auto", work, sampling_probability=0.3)
    step = _stepping(work.model, lambda: engine.gradient(work.model, work.records, work.public))
    seconds = _alternating({"heads": step}, NUM_HEADS_STEPS)["heads"]
    return Row(name="heads on cached features", seconds=seconds.wall, peak_mib=peak_mib())


def transformer(batch: int, overrides: tuple[str, ...]) -> Workload:
    """The scratch encoder at a size, one study for each of `batch` patients, 256 anchors."""
    config = load_config(overrides)
    model = fresh_model(ENCODERS.load("scratch")(config.encoder), config)
    for tower in (model.image_tower, model.report_tower):
        tower.get_parameter("trunk.positions").requires_grad = False
    generator = torch.Generator().manual_seed(0)
    size, num_anchors = config.encoder.image_size, config.loss.num_anchors
    images = torch.randint(0, 256, (batch + num_anchors, size, size), generator=generator, dtype=torch.uint8)
    words = (batch + num_anchors, config.encoder.max_tokens)
    reports = torch.randint(1, config.encoder.vocabulary, words, generator=generator)
    return _workload(model, config, images, reports, batch)


def heads(num_patients: int, config: RunConfig) -> Workload:
    """Whitened heads on features as the pretrained encoder gives them."""
    generator = torch.Generator().manual_seed(0)
    rows = num_patients + config.loss.num_anchors
    images, reports = (torch.randn(rows, dim, generator=generator) for dim in FEATURE_DIMS)
    image_tower, report_tower = (WhitenedHead(dim, config.encoder.embedding_dim) for dim in FEATURE_DIMS)
    image_tower.fit_to_public(images[num_patients:])
    report_tower.fit_to_public(reports[num_patients:])
    head = HashHead(
        embedding_dim=config.encoder.embedding_dim,
        bit_width=config.code.bit_width,
        num_centres=config.code.num_centres,
        generator=generator,
    )
    return _workload(DualEncoder(image_tower, report_tower, head), config, images, reports, num_patients)


def step_of(name: str, work: Workload) -> Step:
    """One step of training: `plain`, `opacus`, or a gradient path of the engine."""
    if name == "opacus":
        return opacus_step(work)
    if name == "plain":
        return _stepping(work.model, lambda: plain_gradient(work))
    engine = _engine(name, work, sampling_probability=1.0)
    return _stepping(work.model, lambda: engine.gradient(work.model, work.records, work.public))


def plain_gradient(work: Workload) -> Gradients:
    """The mean gradient over the batch in one pass, as training without privacy has it."""
    names = trainable_names(work.model)
    image, report = work.model(work.records.images, work.records.reports)
    value: Tensor = work.objective(image, report, work.public).mean()
    return dict(zip(names, torch.autograd.grad(value, [work.model.get_parameter(n) for n in names]), strict=True))


def opacus_step(work: Workload) -> Step:
    """Opacus 1.6 as its users run it: hooks for per-sample gradients, its optimizer for clip and noise."""
    # Opacus knows layers by their exact type; what the hash head holds beside its weight is in `work.public`.
    head = nn.Linear(work.model.hash_head.in_features, work.model.hash_head.out_features, bias=False)
    head.load_state_dict({"weight": work.model.hash_head.weight})
    work.model.set_submodule("hash_head", head)
    model = GradSampleModule(work.model, loss_reduction="sum", strict=False)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = DPOptimizer(
        torch.optim.SGD(parameters, lr=1e-3),
        noise_multiplier=1.0,
        max_grad_norm=1.0,
        expected_batch_size=len(work.records.patients),
        loss_reduction="sum",
    )

    def step() -> None:
        optimizer.zero_grad()
        image, report = model(work.records.images, work.records.reports)
        work.objective(image, report, work.public).sum().backward()
        optimizer.step()

    return step


def _engine(path: str, work: Workload, *, sampling_probability: float) -> PatientDpSgd:
    return PatientDpSgd(
        objective=work.objective,
        sampling_probability=sampling_probability,
        clip_norm=1.0,
        noise_multiplier=1.0,
        expected_patients=sampling_probability * work.records.num_patients,
        chunk_size=CHUNK_SIZE,
        randomness=SystemRandomness(),
        gradients=path,
    )


def _stepping(model: DualEncoder, gradient: Callable[[], Gradients]) -> Step:
    parameters = {name: model.get_parameter(name) for name in trainable_names(model)}
    optimizer = torch.optim.SGD(parameters.values(), lr=1e-3)

    def step() -> None:
        for name, value in gradient().items():
            parameters[name].grad = value
        optimizer.step()
        optimizer.zero_grad()

    return step


def _workload(model: DualEncoder, config: RunConfig, images: Tensor, reports: Tensor, num_private: int) -> Workload:
    public = embed_public(model, images[num_private:], reports[num_private:])
    records = Records(images[:num_private], reports[:num_private], torch.arange(num_private))
    return Workload(model, records, public, build_objective(config.loss, config.code))


def _alternating(steps: Mapping[str, Step], repeats: int) -> dict[str, Seconds]:
    """Median seconds of each step; the first of each is not counted."""
    found: dict[str, list[Seconds]] = {name: [] for name in steps}
    for _ in range(repeats + 1):
        for name, step in steps.items():
            wall, cpu = time.perf_counter(), time.process_time()
            step()
            found[name].append(Seconds(time.perf_counter() - wall, time.process_time() - cpu))
    return {
        name: Seconds(*(statistics.median(clock) for clock in zip(*times[1:], strict=True)))
        for name, times in found.items()
    }


def _alone(measure: Callable[[], Result]) -> Result:
    """Measure in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(measure).result()
