"""What the hospitals' noised counts say together: how much the consortium finds, and whether the run helped.

Sums of noised counts are noised counts, so this is post-processing and costs nobody anything; the sum says more than
any part, for patients add up faster than noise does. A hospital that tells more patients than its public band, or
counts that no noise makes, is left out; within these bounds a liar moves the result by its share of the patients. Where
hospitals share the noise of their counts it cancels between those that are added up; one that leaves out its part of it
moves the sum by that part, which no figure shows, as it could by lying.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from common.config.schema import RunConfig
from common.privacy.bands import most_of
from common.privacy.count_noise import CountNoise
from common.privacy.held_out import noise_of
from common.retrieval.paired import Estimate, Paired, published
from server.checkpoint import RunState

_DEVIATIONS = 10.0
"""Noise reaches so far with a probability below 1e-6 (discrete Laplace; Gaussian below 1e-22)."""

NOTHING: Mapping[str, Any] = {"consortium": None, "difference": None, "published": None}


def consortium(config: RunConfig, state: RunState) -> dict[str, Any]:
    """The summary's `consortium`, `difference` and `published`, each None where nothing was told."""
    noise = noise_of(config)
    if noise is None:
        return dict(NOTHING)
    told = {site: found["paired"] for site, found in state.latest.items() if found.get("paired") is not None}
    believed = [
        site
        for site, cells in told.items()
        if can_be(list(cells.values()), noise, patients_band=state.sites[site].patients_band)
    ]
    whole = Paired.sum_of(
        [Paired(**told[site], noise_variance=noise.variance_in_sum(site, among=believed)) for site in believed]
    )
    if not whole.speaks:
        return dict(NOTHING)
    return {
        "consortium": {
            "num_sites": len(believed),
            "num_left_out": len(told) - len(believed),
            "start": as_json(whole.start()),
            "final": as_json(whole.final()),
        },
        **decision(whole.difference()),
    }


def decision(difference: Estimate) -> dict[str, Any]:
    """The summary's `difference`, and what it decides."""
    return {"difference": as_json(difference), "published": published(difference.interval).value}


def as_json(estimate: Estimate) -> dict[str, float]:
    """A figure with its interval."""
    return {"recall_at_10": estimate.value, "low": estimate.interval.low, "high": estimate.interval.high}


def can_be(cells: Sequence[float], noise: CountNoise, *, patients_band: str) -> bool:
    """Whether a hospital of a band can have told such counts of patients, each of whom is in one of the cells."""
    reach = _DEVIATIONS * math.sqrt(noise.variance)
    return min(cells) >= -reach and sum(cells) <= most_of(patients_band) + math.sqrt(len(cells)) * reach
