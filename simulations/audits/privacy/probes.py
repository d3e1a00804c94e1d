"""Patients that are made to be the worst: what a sum's sensitivity is probed with.

A crowd of near copies of one study, whose gradients add up, and one patient beside them: in their middle, one of them
again, away from all, 1e20 times as large, or no number at all; with one study or with several, some of which lack a
half.

Shapes: N studies.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from client.dp.records import Records

CROWD = 40
PIXEL_DIMENSIONS = 2

Probe = Callable[[Tensor], Tensor]
"""From the crowd's values and a study beside them, last, to one study `[1, ...]`."""


def crowd(records: Records, probe: Probe, *, studies: int) -> Records:
    """A probe as patient 0, and 40 patients that are near copies of one study, so that their gradients add up.

    Patient 0, because the others then stand in other chunks once it has left.

    Args:
        records: Two studies at least: the first is copied, the last is another one.
        probe: What the patient's studies are.
        studies: How many it has.
    """
    images, reports = (_near_copies(value) for value in (records.images, records.reports))
    special = [probe(value).expand(studies, *value.shape[1:]) for value in (images, reports)]
    both = torch.cat([special[0], images[:CROWD]])
    return Records(
        both,
        torch.cat([special[1], reports[:CROWD]]),
        torch.tensor([*[0] * studies, *range(1, CROWD + 1)]),
        views=both.roll(1, dims=-1),
    )


def _near_copies(values: Tensor) -> Tensor:
    """The crowd's values, and the last study's behind them."""
    found = torch.cat([values[:1].expand(CROWD, *values.shape[1:]), values[-1:]]).clone()
    if found.is_floating_point():
        found[:CROWD] += 0.05 * torch.randn(found[:CROWD].shape, generator=torch.Generator().manual_seed(4))
    return found


def with_lone_halves(records: Records) -> Records:
    """The same studies, of which every third lacks its report and every third its image, the first patient's too."""
    lacking = torch.arange(len(records.patients)) % 3
    return replace(records, halves=torch.stack([lacking != 2, lacking != 1], dim=-1))


def hub(values: Tensor) -> Tensor:
    """In the middle of the crowd: the hardest negative of every other patient."""
    return values[:CROWD].mean(dim=0, keepdim=True) if values.is_floating_point() else values[:1]


def duplicate(values: Tensor) -> Tensor:
    """One of the crowd again."""
    return values[:1]


def orthogonal(values: Tensor) -> Tensor:
    """Away from the crowd; for tokens and pixels, another study."""
    if not values.is_floating_point() or values.dim() > PIXEL_DIMENSIONS:
        return values[-1:]
    return torch.linalg.svd(values[:CROWD].double())[2][-1:].float()


def huge(values: Tensor) -> Tensor:
    """A study 1e20 times as large; word numbers and bytes have no such, and take their greatest."""
    if values.is_floating_point():
        return values[-1:] * 1e20
    return torch.full_like(values[-1:], 255 if values.dtype == torch.uint8 else int(values.max()))


def not_a_number(values: Tensor) -> Tensor:
    """A study that is no number."""
    return values[-1:] * math.nan if values.is_floating_point() else values[-1:]


PROBES: tuple[Probe, ...] = (hub, duplicate, orthogonal, huge, not_a_number)


def without_first_patient(records: Records) -> Records:
    """The neighbouring studies: patient 0 is gone, and the others are numbered anew."""
    kept = records.rows((records.patients > 0).nonzero().flatten())
    return replace(kept, patients=kept.patients - 1)
