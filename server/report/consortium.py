"""What the hospitals' noised counts say together: how much the consortium finds, and whether the run helped.

Sums of noised counts are noised counts, so this is post-processing and costs nobody anything; the sum says more than
any part, for patients add up faster than noise does. A hospital that tells more patients than its public band, or
counts that no noise makes, is left out; within these bounds a liar moves the result by its share of the patients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from common.config.schema import RunConfig
from common.privacy.bands import most_of
from common.privacy.held_out import noise_of, variance_of
from common.retrieval.paired import Estimate, Paired, published
from server.checkpoint import RunState

_DEVIATIONS = 10.0
"""Noise reaches so far with a probability below 1e-6 (discrete Laplace)."""

NOTHING: Mapping[str, Any] = {"consortium": None, "difference": None, "published": None}


def consortium(config: RunConfig, state: RunState) -> dict[str, Any]:
    """The summary's `consortium`, `difference` and `published`, each None where nothing was told."""
    noise = noise_of(config)
    if noise is None:
        return dict(NOTHING)
    told = {
        site: Paired(**cells, noise_variance=variance_of(noise))
        for site, found in state.latest.items()
        if (cells := found.get("paired")) is not None
    }
    believed = [paired for site, paired in told.items() if _can_be(paired, state.sites[site].patients_band)]
    whole = Paired.sum_of(believed)
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


def _can_be(paired: Paired, patients_band: str) -> bool:
    reach = _DEVIATIONS * math.sqrt(paired.noise_variance)
    cells = (paired.both, paired.start_only, paired.final_only, paired.neither)
    return min(cells) >= -reach and paired.num_patients <= most_of(patients_band) + 2 * reach
