"""`wardround bench dp`: what patient-level privacy costs a step, in time and memory.

1. A 6M-parameter ViT dual encoder, batch 128, 2 threads: the private step (per-patient gradients, clip, noise from the
   operating system's entropy) beside the same step without privacy (the bound) and beside Opacus's hooks with its
   optimizer (the peer). Positions are frozen: neither Opacus's hooks nor the ghost path know a parameter that no layer
   owns. Rows that say CPU give user and system time over both threads instead of the wall clock.
2. Linear heads on cached features, 256 expected patients a step, one thread as a simulated site has: sampling, closed
   form, clip and noise. The same with every term beside the contrast and nested codes
   of 256 bits: the mean over a step of each width.
3. The transformer's step by `ghost` without noise, with noise drawn after the gradient, and, as training does it, with
   noise that a thread draws beside the gradient. The thread takes its time from a gradient that leaves no core idle;
   behind one on an accelerator it vanishes.
4. The noise of a step alone, a million values, one thread: a site's own, and with what it shares with nine peers beside
   it. The bound of the second is ten times the first: a draw a peer.
5. The transformer's step on studies that five gradient steps changed against their own codes (adversarial training),
   beside the same step without as the bound.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn

from client.dp.engine import PatientDpSgd
from client.dp.grid_noise import NoiseParts, SharedPart, draw_grid_noise
from client.dp.randomness import SystemRandomness
from client.dp.records import Gradients, Records
from client.training.ahead import drawn_ahead
from common.adversarial.hardening import hardening_of
from common.config.load import load_config
from common.config.schema import RunConfig
from common.device import CPU
from common.encoders.dual import DualEncoder, trainable_names
from common.encoders.public_fit import fresh_model
from common.encoders.registry import ENCODERS
from common.encoders.whitened_head import WhitenedHead
from common.hashing.head import HashHead
from common.losses.interface import TERMS
from common.losses.objective import Objective, build_objective
from common.losses.public import Public, embed_public
from common.privacy.keystream import Keystream
from simulations.benchmarks.in_turn import Measured, Step, measure
from simulations.benchmarks.report import Row

NUM_THREADS = 2
NUM_STEPS = 5
NUM_HEADS_STEPS = 50
NUM_PEERS = 9
CHUNK_SIZES = {"vmap": 16, "ghost": 32, "auto": 32}
"""Studies at once; `vmap` keeps a gradient of each."""
PEER = "opacus hooks"
PRIVATE = ("vmap", "ghost")
KINDS = ("plain", *PRIVATE, "opacus")
HARDENED = (0, 5)
"""Gradient steps that change a study before it is learnt from."""
WHEN = ("none", "after", "beside")
"""When a step's noise is drawn."""
TRANSFORMER = (
    "encoder.trainable=all",
    "encoder.width=256",
    "encoder.image_depth=4",
    "encoder.report_depth=3",
    "encoder.image_size=64",
    "encoder.patch_size=8",
)
NESTED_WIDTHS = (48, 64, 96, 128, 192, 256)
EVERY_TERM = ("loss.name=" + "+".join(["anchor_contrast", *TERMS.names]),)
FEATURE_DIMS = (1280, 384)
"""Of the pretrained encoder's images and reports."""


@dataclass(frozen=True)
class Workload:
    """A model, private studies and what they are compared with."""

    model: DualEncoder
    records: Records
    public: Public
    objective: Objective


def bench_dp() -> list[Row]:
    """Private steps of a transformer and of heads."""
    measured = measure(tuple(partial(transformer_step, name) for name in KINDS), NUM_STEPS)
    heads, nested = measure((heads_step, nested_steps), NUM_HEADS_STEPS)
    own, shared = measure((partial(noise_step, 0), partial(noise_step, NUM_PEERS)), NUM_STEPS)
    noisy = measure(tuple(partial(noisy_step, when) for when in WHEN), NUM_STEPS)
    hardened = measure(tuple(partial(hardened_step, number) for number in HARDENED), NUM_STEPS)
    rows = transformer_rows(dict(zip(KINDS, measured, strict=True)))
    return [
        *rows,
        *heads_rows(heads, nested),
        *noisy_rows(dict(zip(WHEN, noisy, strict=True))),
        Row(name="noise of 1M values, own", seconds=own.wall),
        Row(
            name=f"noise of 1M values, shared with {NUM_PEERS}",
            seconds=shared.wall,
            bound_seconds=(1 + NUM_PEERS) * own.wall,
        ),
        *hardened_rows(*hardened),
    ]


def transformer_rows(measured: Mapping[str, Measured]) -> list[Row]:
    """Rows of the wall clock and of CPU time."""
    plain, peer = measured["plain"], measured["opacus"]
    rows = [
        Row(name="ViT 6M, no privacy", seconds=plain.wall, peak_mib=plain.peak_mib),
        Row(name="ViT 6M, opacus", seconds=peer.wall, peak_mib=peer.peak_mib, bound_seconds=plain.wall),
    ]
    for name in PRIVATE:
        private = measured[name]
        rows += [
            Row(
                name=f"ViT 6M, {name}",
                seconds=private.wall,
                peak_mib=private.peak_mib,
                peer=PEER,
                peer_seconds=peer.wall,
                bound_seconds=plain.wall,
            ),
            Row(
                name=f"ViT 6M, {name}, CPU",
                seconds=private.cpu,
                peer=PEER,
                peer_seconds=peer.cpu,
                bound_seconds=plain.cpu,
            ),
        ]
    return rows


def heads_rows(today: Measured, nested: Measured) -> list[Row]:
    """Rows of the default step, and of the mean step over the widths of a nested code, whose bound is the first."""
    each = [clock / len(NESTED_WIDTHS) for clock in (nested.wall, nested.cpu)]
    return [
        Row(name="heads on cached features", seconds=today.wall, peak_mib=today.peak_mib),
        Row(name="heads, nested, all terms", seconds=each[0], bound_seconds=today.wall),
        Row(name="heads on cached features, CPU", seconds=today.cpu),
        Row(name="heads, nested, all terms, CPU", seconds=each[1], bound_seconds=today.cpu),
    ]


def noisy_rows(measured: Mapping[str, Measured]) -> list[Row]:
    """Rows of a step by when its noise is drawn; the bound is the step without."""
    return [
        Row(name=f"ViT 6M, noise {when}", seconds=found.wall, bound_seconds=measured["none"].wall)
        for when, found in measured.items()
    ]


def hardened_rows(plain: Measured, hardened: Measured) -> list[Row]:
    """Rows of a step with adversarial training, by the wall clock and by CPU time."""
    name = f"ViT 6M, vmap, {HARDENED[-1]} adversarial steps"
    return [
        Row(name=name, seconds=hardened.wall, peak_mib=hardened.peak_mib, bound_seconds=plain.wall),
        Row(name=f"{name}, CPU", seconds=hardened.cpu, bound_seconds=plain.cpu),
    ]


def transformer_step(name: str, batch: int = 128, overrides: tuple[str, ...] = TRANSFORMER) -> Step:
    """A step of the transformer of one kind."""
    torch.set_num_threads(NUM_THREADS)
    return step_of(name, transformer(batch, overrides))


def noisy_step(when: str, batch: int = 128, overrides: tuple[str, ...] = TRANSFORMER, device: str = CPU) -> Step:
    """A step of the transformer whose noise is drawn at one time of `WHEN`."""
    torch.set_num_threads(NUM_THREADS)
    work = transformer(batch, overrides)
    work = replace(work, model=work.model.to(device), records=work.records.to(device))
    public = work.public.to(device)
    engine = _engine("ghost", work, sampling_probability=1.0)
    if when == "none":
        engine = replace(engine, noise_multiplier=0.0)
    if when != "beside":
        return _stepping(work.model, lambda: engine.gradient(work.model, work.records, public))

    def gradients() -> Iterator[Gradients]:
        with drawn_ahead(engine, work.model, work.records, num_steps=10**9) as steps:
            for drawn in steps:
                yield engine.gradient_of(work.model, drawn.sample, public, drawn.noise)

    found = gradients()
    return _stepping(work.model, lambda: next(found))


def hardened_step(num_adversarial: int, batch: int = 128, overrides: tuple[str, ...] = TRANSFORMER) -> Step:
    """A step of the transformer on studies that so many gradient steps changed."""
    torch.set_num_threads(NUM_THREADS)
    work = transformer(batch, overrides)
    config = load_config([*overrides, f"training.adversarial.steps={num_adversarial}"])
    engine = replace(_engine("vmap", work, sampling_probability=1.0), hardening=hardening_of(config))
    return _stepping(work.model, lambda: engine.gradient(work.model, work.records, work.public))


def heads_step(num_patients: int = 853, overrides: tuple[str, ...] = ()) -> Step:
    """A step of the engine on cached features, sampling and noise included."""
    torch.set_num_threads(1)
    work = heads(num_patients, load_config(["encoder.embedding_dim=64", "code.bit_width=128", *overrides]))
    engine = _engine("auto", work, sampling_probability=0.3)
    return _stepping(work.model, lambda: engine.gradient(work.model, work.records, work.public))


def nested_steps(num_patients: int = 853, overrides: tuple[str, ...] = EVERY_TERM) -> Step:
    """A step of each width of a nested code, with every term beside the contrast."""
    torch.set_num_threads(1)
    work = heads(num_patients, load_config(["encoder.embedding_dim=64", "code.bit_width=256", *overrides]))
    engine = _engine("auto", work, sampling_probability=0.3)
    steps = [
        _stepping(work.model, partial(engine.gradient, work.model, work.records, work.public.prefix(bits)))
        for bits in NESTED_WIDTHS
    ]
    return lambda: [step() for step in steps]


def noise_step(num_peers: int, num_values: int = 10**6) -> Step:
    """The noise of a step, added to a sum of so many values; what peers share is drawn anew each time."""
    torch.set_num_threads(1)
    total = torch.zeros(num_values, dtype=torch.float64)

    def step() -> None:
        shared = tuple(SharedPart(factor=1, stream=Keystream.fresh()) for _ in range(num_peers))
        parts = NoiseParts(shared=shared)
        draw_grid_noise(num_values, standard_deviation=1.0, stream=Keystream.fresh(), parts=parts).added_to(total)

    return step


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
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Full backward hook is firing")  # on embeddings
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
        chunk_size=CHUNK_SIZES[path],
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
