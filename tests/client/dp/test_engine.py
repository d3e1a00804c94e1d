"""The private step around its gradient: sample, sum, normaliser, one draw of noise, event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from client.dp.engine import PatientDpSgd
from client.dp.randomness import FloatNoise, Noise, Randomness, SeededRandomness
from client.dp.records import Gradients, Records, chunks_of_patients, sample_patients
from common.config.load import load_config
from common.encoders.dual import DualEncoder, trainable_names
from common.errors import ConfigError
from common.losses.objective import Objective, build_objective
from common.losses.public import Public, embed_public

CLIP = 0.5
FEATURES = 12


class Chosen:
    """A fixed sample of the patients, and noise from a fixed seed or none."""

    def __init__(self, chosen: Sequence[bool], *, noise: float = 0.0) -> None:
        self._chosen, self._noise = torch.tensor(chosen, dtype=torch.bool), noise
        self._generator = torch.Generator().manual_seed(0)
        self.totals: list[Tensor] = []
        self.deviations: list[float] = []

    def participants(self, num_patients: int, probability: float) -> Tensor:  # noqa: ARG002 - the protocol
        """See `Randomness`."""
        return self._chosen[:num_patients]

    def noise(self, num_values: int, *, standard_deviation: float) -> Noise:
        """See `Randomness`."""
        self.deviations.append(standard_deviation)
        values = self._noise * standard_deviation * torch.randn(num_values, generator=self._generator)
        return Remembered(values, self.totals)


class Remembered(FloatNoise):
    """Noise that remembers what it was added to."""

    def __init__(self, values: Tensor, totals: list[Tensor]) -> None:
        super().__init__(values)
        object.__setattr__(self, "_totals", totals)

    def added_to(self, total: Tensor) -> Tensor:
        """See `Noise`; the sum is not rounded before."""
        self._totals.append(total)  # type: ignore[attr-defined]
        return (total + self.values_P).float()


def objective(name: str = "anchor_contrast") -> Objective:
    config = load_config([f"loss.name={name}", "loss.temperature=0.1", "code.bit_width=48", "code.num_centres=4"])
    return build_objective(config.loss, config.code)


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


def record_gradient(model: DualEncoder, value: Tensor) -> dict[str, Tensor]:
    names = trainable_names(model)
    parameters = [model.get_parameter(name) for name in names]
    return dict(zip(names, torch.autograd.grad(value, parameters, retain_graph=True), strict=True))


def flat(gradients: Gradients) -> Tensor:
    return torch.cat([gradients[name].flatten() for name in sorted(gradients)]).double()


def relative_error(found: Gradients, expected: Gradients) -> float:
    return float((flat(found) - flat(expected)).norm() / flat(expected).norm())


# The sum


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


def test_engine_coupling_loss_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"loss\.name: .*anchor_contrast"):
        replace(engine(), objective=objective("in_batch"))


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


def test_noise_is_drawn_once_for_all_parameters_and_covers_the_clip(linear_model: DualEncoder) -> None:
    """One vector, so that no two parameters share a key; the deviation is never below the stated one."""
    randomness = Chosen([True] * 6)
    found = engine(randomness, noise=1.5).gradient(linear_model, linear_records(range(6)), anchors_of(linear_model))
    (total,) = randomness.totals
    assert total.shape == (sum(value.numel() for value in found.values()),)
    assert total.dtype is torch.float64  # in float32 the sum would be rounded before the noise hides it
    assert 1.5 * CLIP <= randomness.deviations[0] <= 1.5 * CLIP * 1.001
    assert all(value.dtype == torch.float32 for value in found.values())
    assert {name: value.shape for name, value in found.items()} == {
        name: linear_model.get_parameter(name).shape for name in trainable_names(linear_model)
    }


@pytest.mark.parametrize("chunk_size", [1, 2, 4, 100])
def test_chunks_hold_whole_patients_and_bound_the_studies(chunk_size: int) -> None:
    records = linear_records([0, 0, 1, 2, 2, 2, 3])
    chunks = list(chunks_of_patients(records, chunk_size))
    assert torch.equal(torch.cat([chunk.images for chunk in chunks]), records.images)
    assert sum(chunk.num_patients for chunk in chunks) == records.num_patients
    for chunk in chunks:
        assert len(chunk.patients) <= chunk_size or chunk.num_patients == 1


def test_sample_keeps_whole_patients_renumbered() -> None:
    records = linear_records([0, 0, 1, 2, 2, 2, 3])
    sample = sample_patients(records, 0.5, Chosen([True, False, True, False]))
    assert sample.patients.tolist() == [0, 0, 1, 1, 1]
    assert torch.equal(sample.images, records.images[[0, 1, 3, 4, 5]])
    assert torch.equal(sample.reports, records.reports[[0, 1, 3, 4, 5]])


def test_event_states_what_the_engine_does() -> None:
    event = engine(noise=1.3).event(7)
    assert (event.noise_multiplier, event.sampling_probability, event.steps) == (1.3, 0.3, 7)
