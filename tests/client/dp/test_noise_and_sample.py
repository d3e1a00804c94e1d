"""The sample and the noise of the private step, as statistics, and broken variants that must fail."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from client.dp.engine import PatientDpSgd
from client.dp.randomness import KeystreamRandomness, Noise, Randomness
from client.dp.records import Gradients, Records, sample_patients
from common.config.load import load_config
from common.encoders.dual import DualEncoder
from common.encoders.whitened_head import WhitenedHead
from common.hashing.head import HashHead
from common.losses.objective import build_objective
from common.losses.public import embed_public

CLIP, EXPECTED_PATIENTS = 0.5, 7.5
ALPHA = 1e-6
"""Share of keys for which the test of the noise's deviation would fail a right engine."""


def fixed_key() -> KeystreamRandomness:
    """The sampler and noise of a private run from one key, so that no test fails by chance."""
    return KeystreamRandomness(b"noise and sample: one fixed key.")


class RepeatedNoise(KeystreamRandomness):
    """Broken on purpose: every step starts from one key, as a restart from a checkpointed state would."""

    def noise(self, num_values: int, *, standard_deviation: float) -> Noise:
        """See `Randomness`."""
        return fixed_key().noise(num_values, standard_deviation=standard_deviation)


class Shuffled(KeystreamRandomness):
    """Broken on purpose: a fixed number of patients a step, as shuffled batches have."""

    def participants(self, num_patients: int, probability: float) -> Tensor:
        """See `Randomness`."""
        chosen = torch.zeros(num_patients, dtype=torch.bool)
        chosen[: int(num_patients * probability)] = True
        return chosen


# Sample


def sampler_scores(randomness: Randomness) -> tuple[float, float]:
    """Standard scores of participation and of the batch size's variance: 60 patients, 4,000 steps, probability 0.3."""
    patients, steps, p = 60, 4000, 0.3
    records = Records(torch.zeros(patients, 1), torch.zeros(patients, 1), torch.arange(patients))
    sizes = np.array([sample_patients(records, p, randomness).num_patients for _ in range(steps)])
    expected = patients * p * (1 - p)
    participation = (sizes.sum() - patients * steps * p) / math.sqrt(steps * expected)
    # The fourth central moment of a binomial gives the variance of the sample variance.
    fourth = expected * (1 + (3 * patients - 6) * p * (1 - p))
    return float(participation), float((sizes.var() - expected) / math.sqrt((fourth - expected**2) / steps))


def test_sample_is_poisson() -> None:
    assert all(abs(score) < 6 for score in sampler_scores(fixed_key()))


def test_sample_shuffle_is_caught() -> None:
    assert sampler_scores(Shuffled(bytes(32)))[1] < -6


# Noise


def noise_of_steps(steps: int, *, multiplier: float = 1.0, randomness: Randomness | None = None) -> list[Gradients]:
    """Noise over the stated standard deviation C, about 11,000 values a step."""
    model = DualEncoder(
        WhitenedHead(64, 64),
        WhitenedHead(64, 64),
        HashHead(embedding_dim=64, bit_width=48, num_centres=4, generator=torch.Generator().manual_seed(0)),
    )
    public = embed_public(model, torch.ones(5, 64), torch.ones(5, 64))
    nobody = Records(torch.zeros(0, 64), torch.zeros(0, 64), torch.zeros(0, dtype=torch.int64))
    config = load_config()
    private = PatientDpSgd(
        objective=build_objective(config.loss, config.code),
        sampling_probability=0.3,
        clip_norm=CLIP,
        noise_multiplier=multiplier,
        expected_patients=EXPECTED_PATIENTS,
        chunk_size=1000,
        randomness=randomness or fixed_key(),
    )
    found = [private.gradient(model, nobody, public) for _ in range(steps)]
    return [{name: value * EXPECTED_PATIENTS / CLIP for name, value in step.items()} for step in found]


def has_unit_deviation(steps: list[Gradients]) -> bool:
    values = torch.cat([value.flatten() for step in steps for value in step.values()]).double()
    tail = float(stats.chi2.cdf(float(values.square().sum()), df=len(values)))
    return ALPHA / 2 < tail < 1 - ALPHA / 2


def test_noise_has_the_stated_deviation() -> None:
    """20 steps, n = 225,000 values, alpha 1e-6."""
    assert has_unit_deviation(noise_of_steps(20))


@pytest.mark.parametrize("multiplier", [2 / 3, 0.97, 1.03])
def test_noise_of_another_deviation_is_caught(multiplier: float) -> None:
    assert not has_unit_deviation(noise_of_steps(20, multiplier=multiplier))


def largest_correlation(randomness: Randomness) -> float:
    """Greatest standard score between parameters of a step, between steps, and between two engines."""
    towers = ("image_tower.linear.weight", "report_tower.linear.weight")
    steps = [*noise_of_steps(3, randomness=randomness), *noise_of_steps(1, randomness=randomness)]
    rows = torch.stack([step[name].flatten() for step in steps for name in towers])
    scores = rows @ rows.T / math.sqrt(rows.shape[1])
    return float(scores.fill_diagonal_(0).abs().max())


def test_noise_is_independent() -> None:
    assert largest_correlation(fixed_key()) < 6


def test_noise_from_a_repeated_seed_is_caught() -> None:
    assert largest_correlation(RepeatedNoise(bytes(32))) > 6
