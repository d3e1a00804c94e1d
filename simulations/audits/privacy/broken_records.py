"""Does one broken study destroy a step, or take more than its patient's share of it?

A study whose numbers are none (a damaged file, an overflow) must count as zero. It may neither make what leaves the
site no number, nor keep the other studies of its patient from counting, nor move the sum by more than the clip norm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from client.dp.clipping import ROUNDING_MARGIN
from client.dp.records import Records
from simulations.audits.privacy.interface import Check, Measured
from simulations.audits.privacy.pipeline import Pipeline
from simulations.audits.privacy.probes import crowd, orthogonal, without_first_patient
from simulations.audits.privacy.steps import BY_PAIRS, Bench, bench
from simulations.audits.privacy.subject import Subject

VALUES = {"no numbers": math.nan, "infinite": math.inf, "1e38": 1e38, "subnormal": 1e-42}
NO_CLIP = 1e6
KEPT_ERROR = 1e-3
"""By which the other studies' mean may be off, over its length: sums of a crowd are rounded."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a broken study did.

    Attributes:
        finite: Whether what leaves is numbers.
        moved: By how much its patient moves the sum, over the clip norm.
        kept_error: How far the patient's other two studies are from two thirds of their mean, over its length.
    """

    finite: bool
    moved: float
    kept_error: float


def measure(pipeline: Pipeline, subject: Subject) -> Measured:
    """Break one study of a patient's three, in each way."""
    near = replace(crowd(subject.some_studies(8), orthogonal, studies=3), views=None)
    if not near.images.is_floating_point():
        near = replace(near, images=near.images.float())
    with bench(pipeline, subject) as on:
        if on.by_pairs:
            return BY_PAIRS
        found = [_broken(on, near, value) for value in VALUES.values()]
    finite, moved = all(one.finite for one in found), max(one.moved for one in found)
    kept = max(one.kept_error for one in found)
    return Measured(
        holds=finite and moved <= 1 + ROUNDING_MARGIN and kept <= KEPT_ERROR,
        sentence=(
            f"With one of a patient's three studies broken ({', '.join(VALUES)}), what a step gives is "
            f"{'finite' if finite else 'not finite'}, the patient moves it by {moved:.5g} clip norms at most, and the "
            f"two others count as they should, to {kept:.0e} of their length."
        ),
        power="Each kind of broken number is tried in the image of one study, by the path that the run takes.",
    )


CHECK = Check(
    name="broken-records",
    question="Does one broken study destroy a step, or silence its patient's other studies?",
    claim="A study that cannot be read as numbers counts as nothing, and nothing else changes.",
    measure=measure,
)


def _broken(on: Bench, near: Records, value: float) -> Found:
    images = near.images.clone()
    images[1] = value
    broken = replace(near, images=images)
    source, rest = on.source(), without_first_patient(broken)
    apart = on.exact_sum(source, [broken]) - on.exact_sum(source, [rest])
    return Found(
        finite=bool(on.noised_sum(source, [broken]).isfinite().all()),
        moved=float(apart.nan_to_num(nan=math.inf, posinf=math.inf).norm()) / on.plan.clip_norm,
        kept_error=0.0 if math.isfinite(value) else _kept_error(on, broken, rest),
    )


def _kept_error(on: Bench, broken: Records, rest: Records) -> float:
    open_clip = on.with_privacy(clip_norm=NO_CLIP)
    source = open_clip.source()
    two = broken.rows(torch.tensor([0, *range(2, len(broken.patients))]))
    others, with_two = open_clip.exact_sum(source, [rest]), open_clip.exact_sum(source, [two])
    given = open_clip.exact_sum(source, [broken]) - others
    wanted = (with_two - others) * 2 / 3
    return float((given - wanted).nan_to_num(nan=math.inf).norm() / wanted.norm())
