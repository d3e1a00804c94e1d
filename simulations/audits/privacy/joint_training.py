"""A model that a subject's hospitals train together: every round of every hospital, through the parts under attack.

Local training, sampling, clip, noise and shared noise are the pipeline's. Between rounds the updates are averaged with
equal weights; there is no transport, no gate and no robust rule. All of these come after the noise, so that they can
give an attack nothing, and the plain mean takes the least away from it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.dp.round_noise import RoundNoise
from client.site import Site
from common.canonical import digest
from common.encoders.dual import DualEncoder
from common.wire.update import load_into, model_arrays
from simulations.audits.privacy.pipeline import Pipeline
from simulations.audits.privacy.subject import Subject

Update = dict[str, NDArray[Any]]


def trained_together(pipeline: Pipeline, subject: Subject) -> DualEncoder:
    """The model after all rounds of a subject's config; the subject's own stays as it is.

    Raises:
        WardroundError: The config cannot be trained.
    """
    arrays = model_arrays(subject.model)
    with subject.sites(pipeline) as sites:
        for round_number in range(1, subject.config.federation.rounds + 1):
            arrays = stepped(arrays, updates_of(pipeline, sites, arrays, round_number=round_number))
    model = copy.deepcopy(subject.model)
    load_into(model, arrays)
    return model.eval()


def stepped(arrays: Update, updates: Sequence[Update]) -> Update:
    """The arrays with the mean of some updates."""
    return arrays | {name: arrays[name] + np.mean([one[name] for one in updates], axis=0) for name in updates[0]}


def updates_of(pipeline: Pipeline, sites: Sequence[Site], arrays: Update, *, round_number: int) -> list[Update]:
    """What each site sends in a round; all of them are there to share noise."""
    return [
        pipeline.train(
            site,
            arrays,
            round_number=round_number,
            round_noise=shared_noise(pipeline, sites, site, purpose=str(round_number)),
        )
        for site in sites
    ]


def shared_noise(pipeline: Pipeline, sites: Sequence[Site], site: Site, *, purpose: str) -> RoundNoise | None:
    """What a site shares of its noise with all others, opened for one purpose alone; None where it shares none."""
    if site.pairing is None:
        return None
    statements = [one.pairing.key.statement for one in sites if one.pairing is not None]
    context = digest([purpose, *(statement.key for statement in statements)])
    return pipeline.open_round(site.pairing, statements, context=context)


def without_shared_noise(site: Site) -> Site:
    """A site as it would be by itself: for an attacker's own training, which has noise of its own or none."""
    privacy = None if site.privacy is None else replace(site.privacy, pair_law=None)
    return replace(site, privacy=privacy, pairing=None)


def noise_on_update(site: Site, *, steps: int) -> float:
    """Deviation of the noise, own and shared, on each value of an update of so many steps; the plan makes it public."""
    privacy = site.privacy
    if privacy is None:
        return 0.0
    growth = 1.0 if privacy.pair_law is None else privacy.pair_law.growth
    of_step = privacy.event.noise_multiplier * growth * privacy.clip_norm / privacy.expected_patients
    return float(privacy.learning_rate * of_step * steps**0.5)
