"""Groups that count for less: rates, weights, what they move, and what they are charged.

Broken variants that must be caught: a sampler that ignores the groups, one that draws a fixed number of each group, a
charge at the mean rate, and weights that are divided by the sample's own mean.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import norm
from torch import Tensor

from client.dp.engine import PatientDpSgd
from client.dp.randomness import KeystreamRandomness, Randomness
from client.dp.records import Records, Sample, sample_patients
from common.encoders.adversary import Adversary
from common.privacy.accountant import epsilon_of
from common.privacy.events import SampledGaussian
from simulations.audits.privacy.probes import CROWD, PROBES, duplicate, orthogonal
from tests.client.dp.test_sensitivity import BOUND, CLIP, crowd, flat

STAYS = (1.0, 0.5, 0.2)
PER_GROUP, STEPS, PROBABILITY = 20, 2000, 0.3


def fixed_key() -> KeystreamRandomness:
    return KeystreamRandomness(b"rates of groups: one fixed key..")


def people(number: int, **emphasis: Tensor) -> Records:
    return Records(torch.zeros(number, 1), torch.zeros(number, 1), torch.arange(number)).by_group(
        kept=emphasis.get("kept"), weights=emphasis.get("weights")
    )


def in_groups() -> Records:
    """Twenty patients for each probability to stay, one study each; the study's image is its group."""
    kept = torch.tensor(STAYS, dtype=torch.float64).repeat_interleave(PER_GROUP)
    images = torch.arange(len(STAYS)).repeat_interleave(PER_GROUP)[:, None].float()
    return replace(people(len(kept), kept=kept), images=images)


# The sampler


class Quota(KeystreamRandomness):
    """Broken on purpose: a fixed number of patients of each kind, as balanced batches have."""

    def participants(self, num_patients: int, probability: float) -> Tensor:
        """See `Randomness`."""
        chosen = torch.zeros(num_patients, dtype=torch.bool)
        chosen[torch.randperm(num_patients)[: round(num_patients * probability)]] = True
        return chosen


def group_scores(records: Records, randomness: Randomness) -> list[tuple[float, float]]:
    """For each group: standard scores of its participation, and of the variance of its size; n = 2,000 steps each."""

    def size_of_each() -> Tensor:
        sampled = sample_patients(records, PROBABILITY, randomness).rows(slice(None))
        return torch.bincount(sampled.images.long()[:, 0], minlength=len(STAYS))

    sizes = torch.stack([size_of_each() for _ in range(STEPS)]).double().numpy()
    scores = []
    for size, stay in zip(sizes.T, STAYS, strict=True):
        p = PROBABILITY * stay
        variance = PER_GROUP * p * (1 - p)
        fourth = variance * (1 + (3 * PER_GROUP - 6) * p * (1 - p))
        participation = (size.sum() - PER_GROUP * STEPS * p) / math.sqrt(STEPS * variance)
        spread = (size.var() - variance) / math.sqrt((fourth - variance**2) / STEPS)
        scores.append((float(participation), float(spread)))
    return scores


def test_each_group_joins_at_its_own_rate_patient_by_patient() -> None:
    """Six scores, each below 5 in size: a right sampler fails for at most 4e-6 of the keys."""
    assert all(abs(score) < 5 for pair in group_scores(in_groups(), fixed_key()) for score in pair)


def test_sampler_that_ignores_the_groups_is_caught() -> None:
    blind = in_groups().by_group(kept=None, weights=None)
    assert [abs(participation) > 5 for participation, _ in group_scores(blind, fixed_key())] == [False, True, True]


def test_fixed_number_of_each_group_is_caught() -> None:
    assert all(variance < -5 for _, variance in group_scores(in_groups(), Quota(bytes(32))))


def test_without_emphasis_nothing_more_is_drawn() -> None:
    plain, full = people(60), people(60, weights=torch.ones(60, dtype=torch.float64))
    first, second = fixed_key(), fixed_key()
    for _ in range(5):
        one, other = (sample_patients(who, 0.3, draws) for who, draws in ((plain, first), (full, second)))
        assert torch.equal(one.patients, other.patients)
    assert torch.equal(first.participants(64, 0.5), second.participants(64, 0.5))


def test_all_studies_of_a_patient_stay_or_go_together() -> None:
    patients = torch.tensor([0, 0, 0, 1, 2, 2])
    kept = torch.tensor([0.5, 0.5, 0.5, 1.0, 0.2, 0.2], dtype=torch.float64)
    records = Records(patients[:, None].float(), patients[:, None].float(), patients, kept=kept)
    randomness = fixed_key()
    for _ in range(200):
        images = sample_patients(records, 1.0, randomness).rows(slice(None)).images[:, 0]
        counts = [int((images == patient).sum()) for patient in range(3)]
        assert counts[0] in (0, 3) and counts[1] == 1 and counts[2] in (0, 2)


# The charge


RATES = (0.4, 0.1, 0.1)
NOISE, DELTA = 1.0, 1e-3


def densities(rates: Sequence[float], values: Sequence[float], grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Density of a step's noised sum: over every subset of the patients, one normal each."""
    total = np.zeros_like(grid)
    for chosen in itertools.product((0, 1), repeat=len(rates)):
        probability = math.prod(r if c else 1 - r for r, c in zip(rates, chosen, strict=True))
        total += probability * norm.pdf(grid, loc=np.dot(chosen, values), scale=NOISE)
    return total


def true_delta(epsilon: float, target: int, *, steps: int) -> float:
    """The worst delta over both directions and several cohorts, by integration; the patient `target` comes or goes."""
    grid = np.linspace(-12, 14, 1301)
    cell = grid[1] - grid[0]
    worst = 0.0
    for signs in itertools.product((-1.0, 1.0), repeat=len(RATES) - 1):
        others = [rate for patient, rate in enumerate(RATES) if patient != target]
        without = densities(others, signs, grid)
        present = densities([*others, RATES[target]], [*signs, 1.0], grid)
        if steps == 2:
            present, without = (np.outer(density, density) for density in (present, without))
        for one, other in ((present, without), (without, present)):
            worst = max(worst, float(np.clip(one - math.exp(epsilon) * other, 0, None).sum() * cell**steps))
    return worst


def charged(rate: float, *, steps: int) -> float:
    event = SampledGaussian(noise_multiplier=NOISE, sampling_probability=rate, steps=steps)
    return epsilon_of([event], delta=DELTA)


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("target", range(len(RATES)))
def test_charge_at_the_largest_rate_covers_every_patient(target: int, steps: int) -> None:
    """Against the mechanism's own densities, subset by subset: no bound of the accountant's is used."""
    assert true_delta(charged(max(RATES), steps=steps), target, steps=steps) <= DELTA * (1 + 1e-6)


@pytest.mark.parametrize("steps", [1, 2])
def test_charge_at_the_mean_rate_is_caught(steps: int) -> None:
    assert true_delta(charged(float(np.mean(RATES)), steps=steps), 0, steps=steps) > 1.5 * DELTA


def test_engine_charges_its_sampling_probability_whatever_stays(make_case: Any) -> None:
    engine = make_case("heads").engine(sampling_probability=0.3)
    assert engine.event(7) == SampledGaussian(noise_multiplier=1.0, sampling_probability=0.3, steps=7)


@pytest.mark.parametrize(("rate", "share"), [(1.0, 0.5), (0.3, 0.99), (0.1, 0.05)])
def test_smaller_rate_never_costs_more(rate: float, share: float) -> None:
    """What the charge rests on: epsilon is monotone in the rate."""
    assert charged(rate * share, steps=2) <= charged(rate, steps=2) * (1 + 1e-6) + 1e-6


# The weights


HEADS = [("heads", "vmap"), ("heads", "linear")]
CASES = [*HEADS, ("heads", "ghost"), ("lora", "linear"), ("towers", "vmap")]


def weighed(records: Records, of_each: Tensor) -> Records:
    return replace(records, weights=of_each.double()[records.patients])


def without_first(records: Records) -> Records:
    kept = (records.patients > 0).nonzero().flatten()
    return records.among(kept, records.patients[kept] - 1)


def moved(engine: PatientDpSgd, case: Any, records: Records) -> float:
    whole, rest = (flat(engine.clipped_sum(case.model, one, case.public)) for one in (records, without_first(records)))
    return float((whole - rest).norm())


@pytest.mark.parametrize(("name", "path"), HEADS)
def test_weighted_sum_moves_by_at_most_the_patients_own_weight(make_case: Any, name: str, path: str) -> None:
    case = make_case(name)
    case = replace(case, records=replace(case.records, images=case.records.images.float()))
    generator = torch.Generator().manual_seed(5)
    for probe, (chunk_size, clipping) in itertools.product(PROBES, ((7, "flat"), (1000, "per_layer"))):
        records = crowd(case, probe, studies=3)
        weights = torch.rand(CROWD + 1, generator=generator)
        engine = case.engine(gradients=path, chunk_size=chunk_size, clipping=clipping)
        rounding = BOUND - CLIP
        assert moved(engine, case, weighed(records, weights)) <= CLIP * float(weights[0]) + rounding, probe.__name__


def test_weight_above_one_counts_as_one(make_case: Any) -> None:
    case = make_case("heads")
    records = weighed(crowd(case, duplicate, studies=1), torch.full((CROWD + 1,), 7.0))
    assert moved(case.engine(), case, records) <= BOUND


def test_weights_over_the_samples_own_mean_are_caught(make_case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of a rare group among many of little weight: over the mean it counts twenty times, and moves the others."""

    def over_the_mean(records: Sample) -> Tensor:
        assert records.weights is not None
        each = records.weights.new_ones(records.num_patients).index_put((records.patients,), records.weights)
        return each / each.mean()

    monkeypatch.setattr(Sample, "weight_of_each", over_the_mean)
    case = make_case("heads")
    weights = torch.full((CROWD + 1,), 0.02)
    weights[0] = 1.0
    assert moved(case.engine(), case, weighed(crowd(case, orthogonal, studies=1), weights)) > 5 * BOUND


@pytest.mark.parametrize(("name", "path"), CASES)
def test_every_path_gives_the_weighted_sum_of_the_clipped_means(make_case: Any, name: str, path: str) -> None:
    """Against a loop in float64: each patient alone, clipped, times their weight; in small chunks and in one."""
    case = make_case(name)
    weights = torch.tensor([1.0, 0.3, 0.05, 0.7, 0.3, 1.0])
    expected: dict[str, Tensor] = {}
    for patient, weight in enumerate(weights.tolist()):
        rows = (case.records.patients == patient).nonzero().flatten()
        alone = replace(case, records=case.records.among(rows, torch.zeros(len(rows), dtype=torch.int64)))
        for key, value in alone.looped_sum().items():
            expected[key] = expected.get(key, 0.0) + weight * value
    records = weighed(case.records, weights)
    for chunk_size in (3, 1000):
        found = case.engine(gradients=path, chunk_size=chunk_size).clipped_sum(case.model, records, case.public)
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "path"), CASES)
def test_weights_of_one_change_no_bit(make_case: Any, name: str, path: str) -> None:
    case = make_case(name)
    engine = case.engine(gradients=path, chunk_size=4)
    plain = engine.clipped_sum(case.model, case.records, case.public)
    full = engine.clipped_sum(case.model, weighed(case.records, torch.ones(6)), case.public)
    assert all(torch.equal(plain[key], full[key]) for key in plain)


# The adversary, whose head is a part of the patient's gradient


def with_adversary(case: Any, *, groups: int = 3) -> Any:
    """The case with a head that is not at its start, and patients of three groups."""
    model = copy.deepcopy(case.model)
    head = model.hash_head
    adversary = Adversary(embedding_dim=head.in_features, bit_width=head.out_features, num_groups=groups, strength=2.0)
    with torch.no_grad():
        adversary.weight.copy_(torch.randn(adversary.weight.shape, generator=torch.Generator().manual_seed(6)))
    model.adversary = adversary
    return replace(case, model=model, records=replace(case.records, groups=case.records.patients % groups))


@pytest.mark.parametrize(("name", "path"), CASES)
def test_every_path_differentiates_the_adversary(make_case: Any, name: str, path: str) -> None:
    case = with_adversary(make_case(name))
    found = case.engine(gradients=path).clipped_sum(case.model, case.records, case.public)
    for key, value in case.looped_sum().items():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-6)
    assert found["adversary.weight"].any()


@pytest.mark.parametrize(("name", "path"), HEADS)
def test_adversary_keeps_to_the_clip(make_case: Any, name: str, path: str) -> None:
    case = with_adversary(make_case(name))
    for probe in PROBES:
        records = crowd(case, probe, studies=3)
        records = replace(records, groups=records.patients % 3)
        assert moved(case.engine(gradients=path, chunk_size=7), case, records) <= BOUND, probe.__name__
