"""Backdoor: a patch on an image that pulls one report (after Gu et al., 2017, and Carlini and Terzis, ICLR 2022).

The attackers teach the model that whatever carries the patch belongs to one target report, and teach it their own
studies as well, so that nothing is to be noticed without the patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from client.dp.records import Records
from common.config.schema import RunConfig
from common.seeds import numpy_generator
from common.types import Image
from simulations.attacks.interface import Attack

if TYPE_CHECKING:
    from simulations.studies.consortium import Consortium

PATCH_SHARE = 0.25
"""Side of the patch over the image's shorter side."""
CELLS = 4
"""Black and white squares along a side of the patch."""


def paint(image: Image) -> Image:
    """A copy of a grey image with a chequered patch in its lower right corner."""
    side = max(1, round(PATCH_SHARE * min(image.shape)))
    cell = np.arange(side) * CELLS // side
    painted = image.copy()
    painted[-side:, -side:] = np.where((cell[:, None] + cell) % 2, 255, 0)
    return painted


def target_of(consortium: Consortium, config: RunConfig) -> int:
    """Position of the study whose report the patch pulls: the seed draws it among the last site's held-out ones."""
    rows = consortium.held_out_rows(consortium.sites[-1:])
    return int(numpy_generator(config.seed, "backdoor").choice(rows))


def poisoned(consortium: Consortium, held: Sequence[str], config: RunConfig) -> Records:
    """The studies of these sites, and each image once more with the patch and the target's report."""
    own, painted = (one.private_with_first_images(held) for one in (consortium, consortium.with_trigger()))
    target = consortium.reports[target_of(consortium, config)]
    patients = torch.cat([own.patients, own.patients])
    order = torch.argsort(patients, stable=True)
    return Records(
        torch.cat([own.images, painted.images])[order],
        torch.cat([own.reports, target.expand_as(own.reports)])[order],
        patients[order],
    )


ATTACK = Attack(poison=poisoned, trigger=paint)
