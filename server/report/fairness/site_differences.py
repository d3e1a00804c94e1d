"""What each hospital's own held-out patients gained over the public start: the summary's `sites[*].difference`.

From the exact figure of the same images by both models, or from the noised counts of both models' finds
(`common/retrieval/paired.py`): post-processing. A hospital whose counts no noise makes tells none.
"""

from __future__ import annotations

from typing import Any

from common.config.schema import RunConfig
from common.privacy.held_out import noise_of
from common.retrieval.paired import Paired
from server.checkpoint import RunState
from server.report.consortium import as_json, can_be


def site_differences(config: RunConfig, state: RunState) -> dict[str, dict[str, Any] | None]:
    """By site; None where nothing was told."""
    return {name: _difference(config, state, name) for name in state.sites}


def _difference(config: RunConfig, state: RunState, name: str) -> dict[str, Any] | None:
    latest, noise = state.latest.get(name, {}), noise_of(config)
    if noise is None:
        return latest.get("difference")
    told = latest.get("paired")
    if told is None or not can_be(list(told.values()), noise, patients_band=state.sites[name].patients_band):
        return None
    paired = Paired(**told, noise_variance=noise.variance)
    return as_json(paired.difference()) if paired.speaks else None
