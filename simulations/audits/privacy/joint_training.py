"""A model that a subject's hospitals train together: every round of every hospital, through the parts under attack.

Local training, sampling, clip, noise and shared noise are the pipeline's. Between rounds the updates are averaged with
equal weights; there is no transport, no gate and no robust rule. All of these come after the noise, so that they can
give an attack nothing, and the plain mean takes the least away from it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
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
    statements = [site.pairing.key.statement for site in sites if site.pairing is not None]
    context = digest([statement.key for statement in statements] + [str(round_number)])

    def noise_of(site: Site) -> RoundNoise | None:
        return None if site.pairing is None else pipeline.open_round(site.pairing, statements, context=context)

    train = partial(pipeline.train, arrays=arrays, round_number=round_number)
    return [train(site, round_noise=noise_of(site)) for site in sites]
