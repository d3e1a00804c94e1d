"""Is each patient's gradient what a plain loop over their studies gives?

A wrong gradient path may pass every other check and clip another vector than it adds. Each path that takes the model is
held against automatic differentiation in float64, one study at a time: for patients of one and of several studies.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor

from client.dp.records import Records
from common.config.schema import AdversarialConfig
from common.encoders.dual import DualEncoder, trainable_names
from common.losses.objective import Objective
from common.losses.public import Public
from simulations.audits.privacy.interface import Check, Measured
from simulations.audits.privacy.pipeline import Pipeline
from simulations.audits.privacy.steps import BY_PAIRS, Bench, bench
from simulations.audits.privacy.subject import Subject

MOST_ERROR = 1e-5
"""Of the reference's length."""
NO_CLIP = 1e6
NUM_PATIENTS = 6


def measure(pipeline: Pipeline, subject: Subject) -> Measured:
    """Compare each path with a loop, patient by patient."""
    records = subject.some_studies(NUM_PATIENTS)
    several = Records(records.images[:3], records.reports[:3], torch.zeros(3, dtype=torch.int64))
    patients = [*_each(records), several]
    with bench(pipeline, subject) as on:
        if on.by_pairs:
            return BY_PAIRS
        open_clip = on.with_privacy(clip_norm=NO_CLIP).with_training(adversarial=_no_hardening(on))
        model = copy.deepcopy(on.model).double()
        references = [_looped(model, one, on.objective, _in_double(on.public)) for one in patients]
        errors = {
            path: max(
                _error(open_clip.with_training(gradients=path), one, reference)
                for one, reference in zip(patients, references, strict=True)
            )
            for path in open_clip.paths()
        }
    worst = max(errors, key=lambda path: errors[path])
    return Measured(
        holds=errors[worst] <= MOST_ERROR,
        sentence=(
            f"Over {len(patients)} patients and the paths {', '.join(errors)}, the largest relative difference from a "
            f"plain loop is {errors[worst]:.1e} ({worst}); it may be {MOST_ERROR:.0e}."
        ),
        power="Any gradient that is off by more is seen, for the run's own model and loss.",
    )


CHECK = Check(
    name="gradients",
    question="Is each patient's gradient what a plain loop over the studies gives?",
    claim="What is clipped is the patient's whole gradient, the mean over all of their studies.",
    measure=measure,
)


def _no_hardening(on: Bench) -> AdversarialConfig:
    return replace(on.site.config.training.adversarial, steps=0)


def _each(records: Records) -> list[Records]:
    found = []
    for patient in range(records.num_patients):
        own = records.rows((records.patients == patient).nonzero().flatten())
        found.append(Records(own.images, own.reports, torch.zeros_like(own.patients)))
    return found


def _error(on: Bench, one: Records, reference: Tensor) -> float:
    given = on.exact_sum(on.source(), [one])
    return float((given - reference).norm() / reference.norm())


def _looped(model: DualEncoder, one: Records, objective: Objective, public: Public) -> Tensor:
    """Mean over the studies of each one's gradient, by one backward pass each, float64 `[P]`."""
    parameters = [model.get_parameter(name) for name in trainable_names(model)]
    total = torch.zeros(sum(parameter.numel() for parameter in parameters), dtype=torch.float64)
    for row in range(len(one.patients)):
        images, reports = (_double(part[row : row + 1]) for part in (one.images, one.reports))
        value = objective(*model(images, reports), public)[0]
        gradients = torch.autograd.grad(value, parameters, materialize_grads=True)
        total += torch.cat([gradient.flatten() for gradient in gradients]) / len(one.patients)
    return total


def _double(features: Tensor) -> Tensor:
    return features.double() if features.is_floating_point() else features


def _in_double(public: Public) -> Public:
    image, report = (type(half)(half.embedding.double(), half.code.double()) for half in (public.image, public.report))
    return public._replace(
        image=image, report=report, prototypes=public.prototypes.double(), centres=public.centres.double()
    )
