"""The private step of pairs against a double loop of autograd, its sensitivity, and broken variants that must fail."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor
from torch.nn.functional import normalize

from client.dp.pair_clip import PairClipDpSgd, at_most, one_study_each
from client.dp.randomness import SeededRandomness, SystemRandomness
from client.dp.records import Gradients, Records
from client.dp.tower_jacobian import Jacobian, TowerJacobian, jacobian_of
from common.config.load import load_config
from common.config.schema import CodeConfig, LossConfig, TermWeights
from common.encoders.dual import DualEncoder, Embedded, trainable_names
from common.encoders.interface import Tower
from common.encoders.public_fit import fresh_model
from common.encoders.scratch import build
from common.errors import ConfigError
from common.losses.objective import Objective, build_objective
from common.losses.public import Public, embed_public

CLIP, NEGATIVE_CLIP, TEMPERATURE = 0.5, 0.5, 0.1
FEATURES, EMBEDDING = 12, 6
CROWD, MOST = 32, 33
QUANTISATION, CENTRES = 0.1, 0.2
CODE = CodeConfig(bit_width=48, weight=1.5, num_centres=4)


def objective(name: str = "pair_clip+quantisation+centres") -> Objective:
    weights = TermWeights(quantisation=QUANTISATION, centres=CENTRES, distillation=1.0)
    loss = LossConfig(name=name, temperature=TEMPERATURE, num_anchors=20, agreement_weight=0.5, weights=weights)
    return build_objective(loss, CODE)


def engine(*, seed: int = 0) -> PairClipDpSgd:
    return PairClipDpSgd(
        objective=objective(),
        sampling_probability=0.3,
        clip_norm=CLIP,
        negative_clip=NEGATIVE_CLIP,
        noise_multiplier=1.0,
        expected_patients=7.5,
        most_sampled=MOST,
        most_patients=60,
        chunk_size=5,
        randomness=SeededRandomness(torch.Generator().manual_seed(seed)),
    )


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def public_of(model: DualEncoder) -> Public:
    return embed_public(model, normal(20, FEATURES, seed=10), normal(20, FEATURES, seed=11))


def linear_records(size: int) -> Records:
    return Records(normal(size, FEATURES, seed=1), normal(size, FEATURES, seed=2), torch.arange(size))


def without_last(records: Records) -> Records:
    return Records(records.images[:-1], records.reports[:-1], records.patients[:-1])


def flat(gradients: Gradients) -> Tensor:
    return torch.cat([gradients[name].detach().flatten() for name in sorted(gradients)]).double()


def relative_error(found: Gradients, expected: Gradients) -> float:
    return float((flat(found) - flat(expected)).norm() / flat(expected).norm())


@pytest.fixture
def trained_model(linear_model: DualEncoder) -> DualEncoder:
    """Heads away from their start, so that the embeddings' Jacobians differ between records."""
    with torch.no_grad():
        for seed, tower in enumerate((linear_model.image_tower, linear_model.report_tower)):
            tower.get_parameter("linear.weight").add_(0.3 * normal(EMBEDDING, EMBEDDING, seed=20 + seed))
    return linear_model


def scratch_case() -> tuple[DualEncoder, Records, Public]:
    sizes = {"embedding_dim": 8, "image_size": 16, "patch_size": 8, "width": 16, "image_depth": 1, "report_depth": 1}
    sizes |= {"num_heads": 2, "max_tokens": 8, "vocabulary": 64}
    overrides = [f"encoder.{name}={size}" for name, size in sizes.items()]
    config = load_config([*overrides, "encoder.trainable=all", "code.bit_width=48", "code.num_centres=4"])
    model, generator = fresh_model(build(config.encoder), config), torch.Generator().manual_seed(3)
    model.hash_head.set_prototypes(normal(20, 8, seed=4), generator=generator)
    images = torch.randint(0, 256, (26, 16, 16), generator=generator, dtype=torch.uint8)
    reports = torch.randint(1, 64, (26, 8), generator=generator)
    return model, Records(images[20:], reports[20:], torch.arange(6)), embed_public(model, images[:20], reports[:20])


# The sum of clipped gradients


def logistic(similarity: Tensor, *, together: bool) -> Tensor:
    logit = similarity / TEMPERATURE - math.log(7.5 - 1)
    return torch.log1p(torch.exp(-logit if together else logit))


def pair_value(image: Embedded, report: Embedded, public: Public, *, together: bool) -> Tensor:
    """Value of one pair, written out."""
    value = logistic((image.embedding * report.embedding).sum(), together=together)
    bits = public.centres.shape[1]
    image, report = image._replace(code=image.code[:, :bits]), report._replace(code=report.code[:, :bits])
    codes = normalize(image.code, dim=-1) * normalize(report.code, dim=-1)
    value = value + CODE.weight * logistic(codes.sum(), together=together)
    if together:
        nearest = int((report.embedding.detach() @ public.prototypes.T).argmax())
        for code in (image.code[0], report.code[0]):
            rough = ((1 - code.abs()) ** 2).mean()
            apart = (1 - (code * public.centres[nearest]).mean()) / 2
            value = value + (QUANTISATION * rough + CENTRES * apart) / 2
    return value


def looped_sum(model: DualEncoder, records: Records, public: Public, private: PairClipDpSgd) -> tuple[Gradients, float]:
    """The sum, one pair at a time in float64, and the share of pairs that were clipped."""
    exact = copy.deepcopy(model).double()
    public = public._replace(prototypes=public.prototypes.double(), centres=public.centres.double())
    inputs = [part.double() if part.is_floating_point() else part for part in (records.images, records.reports)]
    names = trainable_names(exact)
    parameters = [exact.get_parameter(name) for name in names]
    total = [torch.zeros_like(parameter) for parameter in parameters]
    image, report = exact(*inputs)
    clipped, size = 0, len(records.patients)
    for i in range(size):
        for j in range(size):
            halves = (
                Embedded(*(part[i : i + 1] for part in image[:2])),
                Embedded(*(part[j : j + 1] for part in report[:2])),
            )
            value = pair_value(*halves, public, together=i == j)
            gradients = torch.autograd.grad(value, parameters, retain_graph=True)
            norm = math.sqrt(math.fsum(float(gradient.square().sum()) for gradient in gradients))
            bound = private.clip_norm * (1 if i == j else private.negative_clip / private.most_sampled)
            clipped += norm > bound
            for running, gradient in zip(total, gradients, strict=True):
                running += gradient * min(1.0, bound / norm)
    return dict(zip(names, total, strict=True)), clipped / size**2


@pytest.mark.parametrize(("clip_norm", "least", "most"), [(0.02, 0.9, 1.0), (5.0, 0.3, 0.9), (1e6, 0.0, 0.0)])
def test_clipped_sum_of_heads_equals_loop_of_pairs(
    trained_model: DualEncoder, clip_norm: float, least: float, most: float
) -> None:
    records, public = linear_records(9), public_of(trained_model)
    private = replace(engine(), clip_norm=clip_norm)
    expected, clipped = looped_sum(trained_model, records, public, private)
    assert least <= clipped <= most
    assert relative_error(private.clipped_sum(trained_model, records, public), expected) < 1e-6


def test_clipped_sum_of_a_prefix_equals_loop_of_pairs(trained_model: DualEncoder) -> None:
    """A step that asks for the first 16 bits moves no other row of the head."""
    records, public = linear_records(9), public_of(trained_model).prefix(16)
    private = replace(engine(), clip_norm=0.02)
    expected, _ = looped_sum(trained_model, records, public, private)
    found = private.clipped_sum(trained_model, records, public)
    assert relative_error(found, expected) < 1e-6
    assert not found["hash_head.weight"][16:].any()


# Attention under vmap takes a slower path on the CPU.
@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("clip_norm", [0.1, 1e6])
def test_clipped_sum_of_scratch_towers_equals_loop_of_pairs(clip_norm: float) -> None:
    model, records, public = scratch_case()
    private = replace(engine(), clip_norm=clip_norm)
    expected, clipped = looped_sum(model, records, public, private)
    assert (clipped > 0.5) == (clip_norm < 1)
    assert relative_error(private.clipped_sum(model, records, public), expected) < 1e-5


def test_sum_of_wide_clips_is_the_gradient_of_the_objective(trained_model: DualEncoder) -> None:
    """With and without privacy the same is minimised."""
    records, public = linear_records(9), public_of(trained_model)
    wide = replace(engine(), clip_norm=1e9, expected_patients=9)
    names = trainable_names(trained_model)
    value = objective()(*trained_model(records.images, records.reports), public).sum()
    expected = torch.autograd.grad(value, [trained_model.get_parameter(name) for name in names])
    found = wide.clipped_sum(trained_model, records, public)
    assert relative_error(found, dict(zip(names, expected, strict=True))) < 1e-5


@pytest.mark.parametrize("chunk_size", [1, 4, 100])
def test_clipped_sum_chunk_size_does_not_matter(trained_model: DualEncoder, chunk_size: int) -> None:
    records, public = linear_records(9), public_of(trained_model)
    whole = engine().clipped_sum(trained_model, records, public)
    found = replace(engine(), chunk_size=chunk_size).clipped_sum(trained_model, records, public)
    assert relative_error(found, whole) < 1e-12


# Sensitivity


def features_for(tower: Tower, embedding: Tensor) -> Tensor:
    """Features that a head maps to the directions of these embeddings."""
    weight = tower.get_parameter("linear.weight").detach()
    return tower.mean + embedding @ torch.linalg.inv(weight).T @ torch.linalg.pinv(tower.projection)


IMAGES_AT = torch.tensor([1.0, 0, 0, 0, 0, 0])
REPORTS_AT = torch.tensor([-0.7, 0.7, 0, 0, 0, 0])


def crowd(model: DualEncoder) -> Records:
    """32 patients with much the same image and much the same report, and a 33rd to be replaced."""
    spread = 0.03 * normal(2, MOST, EMBEDDING, seed=1)
    images = features_for(model.image_tower, IMAGES_AT + spread[0])
    return Records(images, features_for(model.report_tower, REPORTS_AT + spread[1]), torch.arange(MOST))


def mirrored(model: DualEncoder, crowded: Records) -> tuple[Tensor, Tensor]:  # noqa: ARG001 - one signature
    """Opposite to the crowd in both: the own pair and all negatives pull the same way."""
    return features_for(model.image_tower, -IMAGES_AT), features_for(model.report_tower, -REPORTS_AT)


def hub(model: DualEncoder, crowded: Records) -> tuple[Tensor, Tensor]:
    """A report just where the crowd's images are: the hardest negative of every other patient."""
    return crowded.images[0], features_for(model.report_tower, IMAGES_AT)


def double_hub(model: DualEncoder, crowded: Records) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    return features_for(model.image_tower, REPORTS_AT), features_for(model.report_tower, IMAGES_AT)


def duplicate(model: DualEncoder, crowded: Records) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    return crowded.images[0], crowded.reports[0]


def orthogonal(model: DualEncoder, crowded: Records) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    directions = torch.linalg.svd(crowded.images)[2]
    return directions[-1], directions[-2]


def huge(model: DualEncoder, crowded: Records) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    return crowded.images[0] * 1e20, crowded.reports[0] * 1e20


def not_a_number(model: DualEncoder, crowded: Records) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    return crowded.images[0] * math.nan, crowded.reports[0]


Probe = Callable[[DualEncoder, Records], tuple[Tensor, Tensor]]
PROBES = [mirrored, hub, double_hub, duplicate, orthogonal, huge, not_a_number]


def moved(model: DualEncoder, probe: Probe, private: PairClipDpSgd) -> float:
    """How far removing the probe moves the clipped sum."""
    records, public = crowd(model), public_of(model)
    records.images[-1], records.reports[-1] = probe(model, records)
    whole = flat(private.clipped_sum(model, records, public))
    return float((whole - flat(private.clipped_sum(model, without_last(records), public))).norm())


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize("negative_clip", [0.5, 4.0])
def test_sensitivity_of_one_patient_is_the_stated_one(
    trained_model: DualEncoder, probe: Probe, negative_clip: float
) -> None:
    private = replace(engine(), negative_clip=negative_clip)
    assert private.sensitivity == (1 + 2 * negative_clip) * CLIP
    assert moved(trained_model, probe, private) <= private.sensitivity * (1 + 1e-4)


def test_sensitivity_is_reached(trained_model: DualEncoder) -> None:
    """The bound is no looser than it needs to be."""
    assert moved(trained_model, mirrored, engine()) > 0.9 * engine().sensitivity


def moved_where_all_coincide(model: DualEncoder, *, steepness: float, seed: int) -> float:
    """The same where every embedding is the same but for rounding, under towers whose weights a server made small.

    The gradients' directions are then what is left of a cancellation, and their lengths that times the steepness.
    """
    model = copy.deepcopy(model)
    with torch.no_grad():
        model.image_tower.get_parameter("linear.weight").div_(steepness)
    model.report_tower.load_state_dict(model.image_tower.state_dict())
    features = normal(1, FEATURES, seed=seed) + 1e-7 * normal(MOST, FEATURES, seed=seed + 100)
    records, public, private = Records(features, features, torch.arange(MOST)), public_of(model), engine()
    whole = flat(private.clipped_sum(model, records, public))
    return float((whole - flat(private.clipped_sum(model, without_last(records), public))).norm())


def of_any_tower(tower: Tower, *, embedding_dim: int, chunk_size: int) -> Jacobian:
    """The general form in float32 where the closed form in float64 would do."""
    return TowerJacobian(tower=tower, embedding_dim=embedding_dim, chunk_size=chunk_size)


@pytest.mark.parametrize("form", [jacobian_of, of_any_tower])
@pytest.mark.parametrize("steepness", [1.0, 1e2, 1e3, 1e5, 1e12])
def test_sensitivity_under_steep_towers(
    trained_model: DualEncoder, monkeypatch: pytest.MonkeyPatch, form: Callable[..., Jacobian], steepness: float
) -> None:
    monkeypatch.setattr("client.dp.pair_clip.jacobian_of", form)
    found = [moved_where_all_coincide(trained_model, steepness=steepness, seed=seed) for seed in range(3)]
    assert max(found) <= engine().sensitivity * (1 + 1e-4)


def test_sensitivity_under_steep_towers_is_exceeded_where_rounding_is_forgotten(
    trained_model: DualEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: norms that are not enlarged by their error."""
    monkeypatch.setattr("client.dp.pair_clip.jacobian_of", of_any_tower)
    monkeypatch.setattr(TowerJacobian, "rounding", 0.0)
    found = [moved_where_all_coincide(trained_model, steepness=s, seed=seed) for s in (1e3, 3e3) for seed in range(12)]
    assert max(found) > 1.05 * engine().sensitivity


@pytest.mark.parametrize("probe", [mirrored, hub, double_hub, duplicate])
@pytest.mark.parametrize("scale", [1e-14, 1e-8, 1e-3, 1e4])
def test_sensitivity_under_a_steep_hash_head(trained_model: DualEncoder, probe: Probe, scale: float) -> None:
    trained_model.hash_head.weight.data.mul_(scale)
    assert moved(trained_model, probe, engine()) <= engine().sensitivity * (1 + 1e-4)


BROKEN = {
    "negatives to kC, not kC/M": NEGATIVE_CLIP * MOST,
    "negatives not clipped": 1e9,
    "a cap of 4 in the clip, of 33 in the batch": NEGATIVE_CLIP * MOST / 4,
}


@pytest.mark.parametrize("negative_clip", BROKEN.values(), ids=BROKEN.keys())
def test_sensitivity_of_broken_clips_is_exceeded(trained_model: DualEncoder, negative_clip: float) -> None:
    """The control: each fault, written as the k that it amounts to, is seen by the mirrored probe."""
    broken = replace(engine(), negative_clip=negative_clip)
    assert moved(trained_model, mirrored, broken) > 2 * engine().sensitivity


def test_clipped_sum_refuses_more_patients_than_the_cap(trained_model: DualEncoder) -> None:
    with pytest.raises(ValueError, match="at most"):
        replace(engine(), most_sampled=8).clipped_sum(trained_model, linear_records(9), public_of(trained_model))


def test_clipped_sum_refuses_several_studies_of_a_patient(trained_model: DualEncoder) -> None:
    records = Records(normal(3, FEATURES, seed=1), normal(3, FEATURES, seed=2), torch.tensor([0, 0, 1]))
    with pytest.raises(ValueError, match="one study each"):
        engine().clipped_sum(trained_model, records, public_of(trained_model))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e38])
def test_record_that_is_not_finite_takes_part_in_no_pair(trained_model: DualEncoder, bad: float) -> None:
    records, public = linear_records(7), public_of(trained_model)
    records.reports[-1] = bad if math.isfinite(bad) else records.reports[-1]
    records.reports[-1, 0] = bad
    found = engine().clipped_sum(trained_model, records, public)
    assert flat(found).isfinite().all()
    if not math.isfinite(bad):
        assert relative_error(found, engine().clipped_sum(trained_model, without_last(records), public)) < 1e-12


def test_site_of_broken_records_adds_nothing(trained_model: DualEncoder) -> None:
    records = Records(*(torch.full((4, FEATURES), math.nan) for _ in range(2)), torch.arange(4))
    assert not flat(engine().clipped_sum(trained_model, records, public_of(trained_model))).any()


def test_model_that_is_not_finite_adds_nothing(trained_model: DualEncoder) -> None:
    trained_model.hash_head.weight.data[0, 0] = math.nan
    assert not flat(engine().clipped_sum(trained_model, linear_records(4), public_of(trained_model))).any()


# What is refused


@pytest.mark.parametrize("name", ["anchor_contrast", "in_batch"])
def test_engine_refuses_what_is_no_sum_over_pairs(name: str) -> None:
    with pytest.raises(ConfigError, match=r"loss\.name"):
        replace(engine(), objective=objective(name))


def test_engine_refuses_towers_with_common_parameters(trained_model: DualEncoder) -> None:
    trained_model.report_tower.linear = trained_model.image_tower.linear
    with pytest.raises(ConfigError, match="without common parameters"):
        engine().clipped_sum(trained_model, linear_records(4), public_of(trained_model))


def test_engine_refuses_a_fourth_trained_part(trained_model: DualEncoder) -> None:
    trained_model.register_parameter("temperature", torch.nn.Parameter(torch.ones(())))
    with pytest.raises(ConfigError, match="one hash head"):
        engine().clipped_sum(trained_model, linear_records(4), public_of(trained_model))


# Sample, noise, event


def randomness(seed: int) -> SeededRandomness:
    return SeededRandomness(torch.Generator().manual_seed(seed))


def numbered(patients: list[int]) -> Records:
    """Studies that bear their own number."""
    number = torch.arange(len(patients), dtype=torch.float32)[:, None]
    return Records(number, number, torch.tensor(patients))


def p_value(counts: Tensor) -> float:
    expected = counts.double().mean()
    return float(chi2.sf(float(((counts - expected) ** 2 / expected).sum()), len(counts) - 1))


def test_at_most_keeps_whole_patients_renumbered() -> None:
    records = numbered([0, 0, 1, 2, 2, 2, 3])
    for seed in range(20):
        kept = at_most(2, records, randomness(seed))
        assert kept.num_patients == 2
        was = records.patients[kept.images.flatten().long()]
        assert [len(was.unique()), len(kept.patients)] == [
            2,
            sum(int((records.patients == p).sum()) for p in was.unique()),
        ]
        assert torch.equal(kept.patients, (was != was[0]).long())
    assert at_most(4, records, randomness(0)) is records


def drawn(cut: Callable[[int, Records, SeededRandomness], Records]) -> Tensor:
    """How often each of the 10 pairs among 5 patients is kept, in 4000 cuts."""
    source, counts = randomness(0), torch.zeros(5, 5)
    for _ in range(4000):
        first, second = cut(2, numbered([0, 1, 2, 3, 4]), source).images.flatten().long().tolist()
        counts[first, second] += 1
    return counts[tuple(torch.triu_indices(5, 5, offset=1))]


def first_patients(most: int, records: Records, source: SeededRandomness) -> Records:
    """A cut that is not uniform: one patient in ten cuts stays because of its place."""
    if source.participants(1, 0.1):
        return Records(records.images[:most], records.reports[:most], records.patients[:most])
    return at_most(most, records, source)


def test_cut_is_uniform_over_subsets() -> None:
    """Of 4000 cuts: chi-square over the ten subsets, alpha 1e-6."""
    assert p_value(drawn(at_most)) > 1e-6
    assert p_value(drawn(first_patients)) < 1e-6


def test_one_study_each_is_uniform_and_independent() -> None:
    """Of 6000 draws: chi-square over the twelve joint choices of three patients, alpha 1e-6; chance alone decides."""
    source, counts = randomness(1), torch.zeros(3, 1, 4)
    for _ in range(6000):
        chosen = one_study_each(numbered([0, 0, 0, 1, 2, 2, 2, 2]), source)
        assert chosen.patients.tolist() == [0, 1, 2]
        first, second, third = chosen.images.flatten().long().tolist()
        counts[first, second - 3, third - 4] += 1
    assert p_value(counts.flatten()) > 1e-6
    always_first = torch.tensor([6000.0, *[0.0] * 11])
    assert p_value(always_first) < 1e-6


def test_gradient_reads_one_study_each_of_at_most_the_cap(
    trained_model: DualEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Records] = []
    whole_sum = PairClipDpSgd.clipped_sum

    def watched(self: PairClipDpSgd, model: DualEncoder, records: Records, public: Public) -> Gradients:
        seen.append(records)
        return whole_sum(self, model, records, public)

    monkeypatch.setattr(PairClipDpSgd, "clipped_sum", watched)
    records = Records(normal(40, FEATURES, seed=1), normal(40, FEATURES, seed=2), torch.arange(20).repeat_interleave(2))
    private = replace(engine(), most_sampled=6, sampling_probability=0.5)
    for _ in range(5):
        private.gradient(trained_model, records, public_of(trained_model))
    assert [len(sample.patients) for sample in seen] == [6] * 5
    assert len({tuple(sample.images[:, 0].tolist()) for sample in seen}) == 5


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_gradient_of_site_without_patients_is_noise_of_the_stated_deviation(
    trained_model: DualEncoder, sigma: float
) -> None:
    """Chi-square of 30 steps x 360 parameters, alpha 1e-6 on both sides; two thirds of the noise fail."""
    private = replace(engine(), noise_multiplier=sigma, randomness=SystemRandomness())
    empty, public = linear_records(0), public_of(trained_model)
    noise = torch.cat([flat(private.gradient(trained_model, empty, public)) for _ in range(30)])
    deviation = sigma * (1 + 2 * NEGATIVE_CLIP) * CLIP / 7.5
    for share, accepted in ((1.0, True), (2 / 3, False)):
        square = float((noise * share / deviation).square().sum())
        assert bool(0.5e-6 < chi2.cdf(square, len(noise)) < 1 - 0.5e-6) is accepted


def test_gradient_is_the_clipped_sum_over_the_public_number(trained_model: DualEncoder) -> None:
    records, public = linear_records(6), public_of(trained_model)
    quiet = replace(engine(), noise_multiplier=0.0, sampling_probability=1.0)
    found = flat(quiet.gradient(trained_model, records, public)) * 7.5
    torch.testing.assert_close(found, flat(quiet.clipped_sum(trained_model, records, public)), rtol=1e-5, atol=1e-7)


def test_event_states_what_the_engine_does() -> None:
    event = replace(engine(), noise_multiplier=1.3).event(7)
    assert (event.noise_multiplier, event.sampling_probability, event.steps) == (1.3, 0.3, 7)
    assert (event.most_sampled, event.most_patients) == (MOST, 60)
