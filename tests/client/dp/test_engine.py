"""The private step against one-record-at-a-time autograd, its sensitivity, and a coupled loss that must fail."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from client.dp.engine import Gradients, PatientDpSgd, Records, sample_patients
from client.dp.randomness import Randomness, SeededRandomness
from common.config.load import load_config
from common.config.schema import CodeConfig, LossConfig, RunConfig
from common.encoders.dual import DualEncoder, trainable_names
from common.encoders.interface import Tower
from common.encoders.public_fit import fresh_model
from common.encoders.scratch import build
from common.errors import ConfigError
from common.losses.objective import Objective, Public, build_objective, embed_public

CLIP = 0.5
CODE = CodeConfig(bit_width=48, weight=1.0, quantisation_weight=0.1, centre_weight=0.1, num_centres=4)
FEATURES = 12


class Chosen:
    """A fixed sample of the patients, and noise from a fixed seed or none."""

    def __init__(self, chosen: Sequence[bool], *, noise: float = 0.0) -> None:
        self._chosen, self._noise = torch.tensor(chosen, dtype=torch.bool), noise
        self._generator = torch.Generator().manual_seed(0)

    def participants(self, num_patients: int, probability: float) -> Tensor:  # noqa: ARG002 - the protocol
        """See `Randomness`."""
        return self._chosen[:num_patients]

    def noised(self, total: Tensor, *, standard_deviation: float) -> Tensor:
        """See `Randomness`."""
        return total + self._noise * standard_deviation * torch.randn(total.shape, generator=self._generator)


def objective(name: str = "anchor_contrast") -> Objective:
    return build_objective(LossConfig(name=name, temperature=0.1, num_anchors=20, agreement_weight=0.5, negative_clip=0.5), CODE)


def engine(randomness: Randomness | None = None, *, chunk_size: int = 1000, noise: float = 1.0) -> PatientDpSgd:
    return PatientDpSgd(
        objective=objective(),
        sampling_probability=0.3,
        clip_norm=CLIP,
        noise_multiplier=noise,
        expected_patients=7.5,
        chunk_size=chunk_size,
        randomness=randomness or SeededRandomness(torch.Generator().manual_seed(0)),
    )


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def anchors_of(model: DualEncoder) -> Public:
    return embed_public(model, normal(20, FEATURES, seed=10), normal(20, FEATURES, seed=11))


def linear_records(patients: Sequence[int]) -> Records:
    size = len(patients)
    return Records(
        normal(size, FEATURES, seed=1), normal(size, FEATURES, seed=2), torch.tensor(patients, dtype=torch.int64)
    )


def without_last_patient(records: Records) -> Records:
    kept = records.patients < records.num_patients - 1
    return Records(records.images[kept], records.reports[kept], records.patients[kept])


def scratch_case() -> tuple[DualEncoder, Records, Public]:
    config = tiny_scratch()
    model = fresh_model(build(config.encoder), config)
    generator = torch.Generator().manual_seed(3)
    model.hash_head.set_prototypes(normal(20, 8, seed=4), generator=generator)
    images = torch.randint(0, 256, (27, 16, 16), generator=generator, dtype=torch.uint8)
    reports = torch.randint(1, 64, (27, 8), generator=generator)
    reports[::2, 5:] = 0
    public = embed_public(model, images[:20], reports[:20])
    return model, Records(images[20:], reports[20:], torch.tensor([0, 0, 1, 2, 2, 2, 3])), public


def tiny_scratch() -> RunConfig:
    sizes = {"embedding_dim": 8, "image_size": 16, "patch_size": 8, "width": 16, "image_depth": 1, "report_depth": 1}
    sizes |= {"num_heads": 2, "max_tokens": 8, "vocabulary": 64}
    overrides = [f"encoder.{name}={size}" for name, size in sizes.items()]
    return load_config([*overrides, "encoder.trainable=all", "code.bit_width=48", "code.num_centres=4"])


def record_gradient(model: DualEncoder, value: Tensor) -> dict[str, Tensor]:
    names = trainable_names(model)
    parameters = [model.get_parameter(name) for name in names]
    return dict(zip(names, torch.autograd.grad(value, parameters, retain_graph=True), strict=True))


def looped_sum(model: DualEncoder, records: Records, public: Public) -> dict[str, Tensor]:
    """The clipped sum, one study at a time, in the order of the definition."""
    total = {name: torch.zeros_like(model.get_parameter(name)) for name in trainable_names(model)}
    for patient in range(records.num_patients):
        rows = (records.patients == patient).nonzero().flatten().tolist()
        mean = {name: torch.zeros_like(value) for name, value in total.items()}
        for row in rows:
            image, report = model(records.images[row : row + 1], records.reports[row : row + 1])
            for name, gradient in record_gradient(model, objective()(image, report, public)[0]).items():
                mean[name] += gradient / len(rows)
        norm = math.sqrt(sum(float((gradient.double() ** 2).sum()) for gradient in mean.values()))
        for name, gradient in mean.items():
            total[name] += gradient if norm <= CLIP else gradient * (CLIP / norm)
    return total


def flat(gradients: Gradients) -> Tensor:
    return torch.cat([gradients[name].flatten() for name in sorted(gradients)]).double()


def relative_error(found: Gradients, expected: Gradients) -> float:
    return float((flat(found) - flat(expected)).norm() / flat(expected).norm())


# The sum and its sensitivity


def test_clipped_sum_of_heads_equals_loop(linear_model: DualEncoder) -> None:
    records, public = linear_records([0, 0, 0, 1, 2, 2, 3, 4]), anchors_of(linear_model)
    found = engine().clipped_sum(linear_model, records, public)
    assert relative_error(found, looped_sum(linear_model, records, public)) < 1e-5


# Attention under vmap takes a slower path on the CPU, still faster than attention written out (0.19 s to 0.30 s).
@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_clipped_sum_of_scratch_towers_equals_loop() -> None:
    model, records, public = scratch_case()
    assert relative_error(engine().clipped_sum(model, records, public), looped_sum(model, records, public)) < 1e-5


def test_clipped_sum_below_the_clip_is_the_mean_over_a_patients_studies(linear_model: DualEncoder) -> None:
    records, public = linear_records([0, 0, 0]), anchors_of(linear_model)
    wide = replace(engine(), clip_norm=1e6)
    image, report = linear_model(records.images, records.reports)
    expected = record_gradient(linear_model, objective()(image, report, public).mean())
    assert relative_error(wide.clipped_sum(linear_model, records, public), expected) < 1e-5


@pytest.mark.parametrize("chunk_size", [1, 3])
def test_clipped_sum_chunk_size_does_not_matter(linear_model: DualEncoder, chunk_size: int) -> None:
    records, public = linear_records([0, 0, 0, 0, 1, 2, 2, 3, 4, 5]), anchors_of(linear_model)
    whole = engine().clipped_sum(linear_model, records, public)
    assert relative_error(engine(chunk_size=chunk_size).clipped_sum(linear_model, records, public), whole) < 1e-5


def features_for(tower: Tower, embedding: Tensor) -> Tensor:
    """Features that a whitened head maps to these embeddings."""
    return tower.mean + embedding @ torch.linalg.pinv(tower.projection)


def crowd(model: DualEncoder, *, studies: int = 1) -> Records:
    """32 patients whose images lie close together and far from their reports, and a 33rd to be replaced."""
    images, reports = 0.1 * normal(32 + studies, 6, seed=1), normal(32 + studies, 6, seed=2)
    images[:, 0], reports[:, 0] = 1.0, 0.0
    patients = torch.tensor([*range(32), *[32] * studies])
    return Records(features_for(model.image_tower, images), features_for(model.report_tower, reports), patients)


def hub(model: DualEncoder, crowded: Records) -> tuple[Tensor, Tensor]:
    """A report just where the crowd's images are: the hardest negative of every other patient."""
    centre = torch.eye(6)[0]
    return crowded.images[0], features_for(model.report_tower, centre)


def duplicate(model: DualEncoder, crowded: Records) -> tuple[Tensor, Tensor]:  # noqa: ARG001 - one signature
    return crowded.images[0], crowded.reports[0]


def orthogonal(model: DualEncoder, crowded: Records) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    directions = torch.linalg.svd(crowded.images)[2]
    return directions[-1], directions[-2]


def huge(model: DualEncoder, crowded: Records) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    return crowded.images[0] * 1e20, crowded.reports[0] * 1e20


def not_a_number(model: DualEncoder, crowded: Records) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    return crowded.images[0] * math.nan, crowded.reports[0]


@pytest.mark.parametrize("probe", [hub, duplicate, orthogonal, huge, not_a_number])
@pytest.mark.parametrize("studies", [1, 3])
def test_sensitivity_of_one_patient_is_the_clip(
    linear_model: DualEncoder, probe: Callable[[DualEncoder, Records], tuple[Tensor, Tensor]], studies: int
) -> None:
    records, public = crowd(linear_model, studies=studies), anchors_of(linear_model)
    records.images[32:], records.reports[32:] = probe(linear_model, records)
    private = engine(chunk_size=10)
    whole = flat(private.clipped_sum(linear_model, records, public))
    moved = whole - flat(private.clipped_sum(linear_model, without_last_patient(records), public))
    assert moved.norm() <= CLIP * (1 + 1e-4)


def test_sensitivity_of_in_batch_contrast_exceeds_the_clip(linear_model: DualEncoder) -> None:
    """The control: clip every record of a coupled loss, and one hub still moves the sum by more than the clip."""
    records, public = crowd(linear_model), anchors_of(linear_model)
    records.images[32:], records.reports[32:] = hub(linear_model, records)

    def clipped_sum(rows: Records) -> Tensor:
        image, report = linear_model(rows.images, rows.reports)
        gradients = [
            flat(record_gradient(linear_model, value)) for value in objective("in_batch")(image, report, public)
        ]
        return torch.stack([gradient * min(1.0, CLIP / float(gradient.norm())) for gradient in gradients]).sum(0)

    assert (clipped_sum(records) - clipped_sum(without_last_patient(records))).norm() > 2 * CLIP


def test_engine_coupling_loss_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"loss\.name: .*anchor_contrast"):
        replace(engine(), objective=objective("in_batch"))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_record_that_is_not_finite_counts_as_zero(linear_model: DualEncoder, bad: float) -> None:
    records, public = linear_records(range(5)), anchors_of(linear_model)
    records.reports[4, 0] = bad
    found = engine().clipped_sum(linear_model, records, public)
    others = engine().clipped_sum(linear_model, without_last_patient(records), public)
    assert relative_error(found, others) < 1e-6


# Sample and normaliser


def test_gradient_divides_by_the_public_number(linear_model: DualEncoder) -> None:
    records, public = linear_records(range(6)), anchors_of(linear_model)
    for chosen in ([True] * 6, [True, False, False, False, False, True]):
        quiet = engine(Chosen(chosen))
        sample = sample_patients(records, 0.3, Chosen(chosen))
        found = flat(quiet.gradient(linear_model, records, public)) * 7.5
        torch.testing.assert_close(found, flat(quiet.clipped_sum(linear_model, sample, public)))


def test_gradient_of_empty_sample_is_noise(linear_model: DualEncoder) -> None:
    records, public = linear_records(range(6)), anchors_of(linear_model)
    found = flat(engine(Chosen([False] * 6, noise=1.0)).gradient(linear_model, records, public))
    assert found.isfinite().all()
    assert (found != 0).all()


def test_gradient_of_site_without_patients_is_noise(linear_model: DualEncoder) -> None:
    found = engine().gradient(linear_model, linear_records([]), anchors_of(linear_model))
    assert (flat(found) != 0).all()


def test_sample_keeps_whole_patients_renumbered() -> None:
    records = linear_records([0, 0, 1, 2, 2, 2, 3])
    sample = sample_patients(records, 0.5, Chosen([True, False, True, False]))
    assert sample.patients.tolist() == [0, 0, 1, 1, 1]
    assert torch.equal(sample.images, records.images[[0, 1, 3, 4, 5]])
    assert torch.equal(sample.reports, records.reports[[0, 1, 3, 4, 5]])


def test_event_states_what_the_engine_does() -> None:
    event = engine(noise=1.3).event(7)
    assert (event.noise_multiplier, event.sampling_probability, event.steps) == (1.3, 0.3, 7)
