"""Label flip: each image is taught the report of another patient (Biggio et al., ICML 2012, for classifiers).

A contrastive task has no labels to flip. What an image is taught is to lie near its own report and far from others,
so its report is its label, and another patient's report the flipped one. The site's training code stays honest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from client.dp.records import Records
from common.config.schema import RunConfig
from common.seeds import torch_generator
from simulations.attacks.interface import Attack

if TYPE_CHECKING:
    from simulations.consortium import Consortium


def flipped(consortium: Consortium, held: Sequence[str], config: RunConfig) -> Records:
    """The studies of these sites with every report exchanged; only the seed decides for which.

    All studies stand in a random circle of patients. An image takes the report of the next study round the circle that
    is of another patient and says something else; where there is none, it keeps its own.
    """
    private = consortium.private(held)
    generator = torch_generator(config.seed, "label_flip", *held)
    circle = torch.randperm(private.num_patients, generator=generator)
    order = torch.argsort(circle[private.patients.cpu()], stable=True).tolist()
    given = {study: _next_other(private, order, place) for place, study in enumerate(order)}
    return replace(private, reports=private.reports[[given[study] for study in range(len(order))]])


def _next_other(private: Records, order: Sequence[int], place: int) -> int:
    own = order[place]
    for other in (*order[place + 1 :], *order[:place]):
        another_patient = private.patients[other] != private.patients[own]
        if another_patient and not torch.equal(private.reports[other], private.reports[own]):
            return other
    return own


ATTACK = Attack(poison=flipped)
