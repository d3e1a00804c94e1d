"""Epsilon of privacy events by privacy loss distributions, and the noise that a target epsilon needs.

Guarantee: a composition of the events is (epsilon, delta)-differentially private. Unit of privacy: the patient.
Neighbouring relation: add or remove one patient. Method: PLD (Doroshenko et al., arXiv 2207.04380) as dp-accounting
implements it, a rigorous upper bound up to the discretisation that the library rounds upwards.

Edge cases: no events give epsilon 0; noise multiplier 0 gives infinity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import dp_accounting
from dp_accounting import pld, rdp
from scipy.optimize import brentq

from common.errors import ConfigError
from common.privacy.events import SampledGaussian

LEAST_NOISE, MOST_NOISE = 0.3, 1e4
"""Noise multipliers searched. Below the least one epsilon is in the tens or hundreds, and exact accounting slow."""


def epsilon_of(events: Sequence[SampledGaussian], *, delta: float) -> float:
    """Epsilon at `delta` of all the events together."""
    return _epsilon(tuple(_merged(events)), delta)


@lru_cache(maxsize=256)
def noise_multiplier_for(*, epsilon: float, delta: float, sampling_probability: float, steps: int) -> float:
    """The least noise multiplier, within 0.1%, whose `steps` sampled Gaussian releases spend at most `epsilon`.

    Never below `LEAST_NOISE`, even where that spends less than asked for. Renyi accounting is quick and never below
    PLD, so its answer brackets the search from above.

    Raises:
        ConfigError: No noise multiplier up to `MOST_NOISE` reaches the target.
    """
    if steps == 0:
        return 0.0

    def event(noise: float) -> SampledGaussian:
        return SampledGaussian(noise_multiplier=noise, sampling_probability=sampling_probability, steps=steps)

    def excess_by_renyi(noise: float) -> float:
        return float(_composed((event(noise),), _renyi()).get_epsilon(delta)) - epsilon

    def excess(noise: float) -> float:
        return epsilon_of([event(noise)], delta=delta) - epsilon

    if excess_by_renyi(LEAST_NOISE) <= 0:
        return LEAST_NOISE
    try:
        high = float(brentq(excess_by_renyi, LEAST_NOISE, MOST_NOISE, rtol=1e-3)) * 1.01
    except ValueError as error:
        raise ConfigError(
            f"privacy.epsilon={epsilon} at privacy.delta={delta} cannot be reached in {steps} steps: "
            "raise epsilon, or lower federation.rounds or training.sampling_probability"
        ) from error
    low = high
    while excess(low) <= 0:
        if low == LEAST_NOISE:
            return low
        high, low = low, max(low * 0.85, LEAST_NOISE)
    found = float(brentq(excess, low, high, rtol=5e-4))
    return found if excess(found) <= 0 else found * 1.001


@lru_cache(maxsize=256)
def _epsilon(events: tuple[SampledGaussian, ...], delta: float) -> float:
    if any(event.noise_multiplier == 0 for event in events):
        return math.inf
    return float(_composed(events, pld.PLDAccountant()).get_epsilon(delta))


def _renyi() -> dp_accounting.PrivacyAccountant:
    return rdp.RdpAccountant(orders=[*range(2, 64), 96, 128, 256, 512])


def _composed(
    events: Sequence[SampledGaussian], accountant: dp_accounting.PrivacyAccountant
) -> dp_accounting.PrivacyAccountant:
    for event in events:
        accountant.compose(_dp_event(event))
    return accountant


def _merged(events: Sequence[SampledGaussian]) -> list[SampledGaussian]:
    steps: dict[tuple[float, float], int] = {}
    for event in events:
        kind = (event.noise_multiplier, event.sampling_probability)
        steps[kind] = steps.get(kind, 0) + event.steps
    return [
        SampledGaussian(noise_multiplier=noise, sampling_probability=probability, steps=count)
        for (noise, probability), count in sorted(steps.items())
        if count
    ]


def _dp_event(event: SampledGaussian) -> dp_accounting.DpEvent:
    return dp_accounting.SelfComposedDpEvent(
        dp_accounting.PoissonSampledDpEvent(
            event.sampling_probability, dp_accounting.GaussianDpEvent(event.noise_multiplier)
        ),
        event.steps,
    )
