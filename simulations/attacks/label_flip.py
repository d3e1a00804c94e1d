"""Label flip: each image is taught the report of another patient (Biggio et al., ICML 2012, for classifiers).

A contrastive task has no labels to flip. What an image is taught is to lie near its own report and far from others,
so its report is its label, and another patient's report the flipped one. The site's training code stays honest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from client.dp.records import Records
from common.config.schema import RunConfig
from simulations.attacks.interface import Attack

if TYPE_CHECKING:
    from simulations.studies.consortium import Consortium


def flipped(consortium: Consortium, held: Sequence[str], config: RunConfig) -> Records:  # noqa: ARG001 - of any poison
    """The studies of these sites, each image with the report of another patient that is least like its own.

    Least like is the smallest cosine of the reports' features less their mean. A class that is always taken for the
    same other one is what a label flip teaches; a report drawn at random would only teach noise. A patient who
    is alone keeps its reports.
    """
    private = consortium.private_with_first_images(held)
    features = private.reports.flatten(1).double()
    features = functional.normalize(features - features.mean(dim=0), dim=1)
    likeness = features @ features.T
    likeness[private.patients[:, None] == private.patients] = torch.inf
    other = likeness.argmin(dim=1)
    alone = likeness.isinf().all(dim=1)
    return replace(private, reports=private.reports[torch.where(alone, torch.arange(len(other)), other)])


ATTACK = Attack(poison=flipped)
