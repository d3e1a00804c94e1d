"""Does one patient ever move a step's sum by more than the clip norm?

Every loss that says that it couples nobody, with every term beside it, by every way to a patient's gradient that takes
the model, with both rules of the clip, in small chunks and whole, with studies hardened against their codes, with
patients weighed down, and with views of pixels: each against the patients of `probes.py`, with and without them.

Guarantee under attack: the sum moves by at most `clip_norm * (1 + 1e-4)` under adding or removing one patient.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import torch

from client.dp.clipping import ROUNDING_MARGIN
from client.dp.records import Records
from common.encoders.public_fit import fresh_model
from common.encoders.scratch import build
from common.losses.interface import LOSSES, TERMS, Coupling
from common.losses.objective import Objective, build_objective
from common.losses.public import embed_public
from common.privacy.events import SampledGaussian
from common.seeds import torch_generator
from simulations.audits.privacy.interface import Check, Curve, Measured, Plot
from simulations.audits.privacy.pipeline import Pipeline
from simulations.audits.privacy.probes import PROBES, Probe, crowd, with_lone_halves, without_first_patient
from simulations.audits.privacy.steps import BY_PAIRS, Bench, bench
from simulations.audits.privacy.subject import Subject

LEAST_REACHED = 0.9
"""Of the clip norm: where no probe moves the sum so far, the fuzz is an empty one."""
NUM_STUDIES = (1, 3)
MOST_DRAWN = 1e6
"""A sum that is no number is drawn here."""
WEIGHT_TOO_LARGE = 3
"""A patient's weight that no config could set, and that must count as 1."""
TINY = {"image_size": 16, "patch_size": 8, "width": 16, "image_depth": 1, "report_depth": 1, "num_heads": 2}


@dataclass(frozen=True, kw_only=True)
class Moved:
    """How far one probe moved one sum, over the clip norm."""

    by: float
    way: str
    probe: str


def measure(pipeline: Pipeline, subject: Subject) -> Measured:
    """Fuzz every loss and path."""
    with bench(pipeline, subject) as on:
        if on.by_pairs:
            return BY_PAIRS
        found = [*_of_features(on, subject), *_of_views(on)]
    worst = max(found, key=lambda one: one.by)
    holds: bool | None = worst.by <= 1 + ROUNDING_MARGIN
    if holds and worst.by < LEAST_REACHED:
        holds = None
    return Measured(
        holds=holds,
        sentence=(
            f"Of {len(found)} probes the worst moved a step's sum by {worst.by:.5g} clip norms ({worst.probe}, "
            f"{worst.way}); stated is at most 1."
        ),
        power=(
            "Any of these probes that moves the sum by a ten-thousandth of the clip norm too much is seen. A patient "
            "of another kind is not looked at."
        ),
        plots=(_plot(found),),
    )


CHECK = Check(
    name="sensitivity",
    question="Does one patient ever move a training step's sum by more than the clip norm?",
    claim="What training takes from one patient in a step is cut to a stated length, whoever the others are.",
    measure=measure,
)


def objectives_of(subject: Subject) -> list[tuple[str, Objective]]:
    """Every contrast that says that it couples nobody, with every term beside it; the run's own first."""
    found = [("the run's loss", subject.objective)]
    for name in LOSSES.names:
        config = replace(subject.config.loss, name=name)
        if build_objective(config, subject.config.code).coupling is Coupling.NONE:
            whole = replace(config, name="+".join([name, *TERMS.names]))
            found.append((f"{name} with every term", build_objective(whole, subject.config.code)))
    return found


def _of_features(on: Bench, subject: Subject) -> Iterator[Moved]:
    records = subject.some_studies(8)
    for of, objective in objectives_of(subject):
        for path in on.paths():
            by_path = on.with_training(gradients=path, chunk_size=16)
            yield from _fuzz(by_path, objective, records, f"{of}, {path}")
        yield from _fuzz(on.with_privacy(clipping="per_layer"), objective, records, f"{of}, clip by layer")
    if records.images.is_floating_point():
        hardened = replace(on.site.config.training.adversarial, steps=2)
        yield from _fuzz(on.with_training(adversarial=hardened), on.objective, records, "hardened studies")
    yield from _fuzz(on, on.objective, records, "a weight of three", weight=WEIGHT_TOO_LARGE)


def _fuzz(on: Bench, objective: Objective, records: Records, way: str, *, weight: int | None = None) -> Iterator[Moved]:
    source = on.source(objective=objective)

    def near(probe: Probe, studies: int) -> Records:
        found = crowd(records, probe, studies=studies)
        found = found if studies == 1 else with_lone_halves(found)
        found = found if "every term" in way else replace(found, views=None)
        return found if weight is None else replace(found, weights=torch.full_like(found.patients, weight).double())

    for studies in NUM_STUDIES:
        # The neighbour is the same for all probes: the crowd alone.
        rest = on.exact_sum(source, [without_first_patient(near(PROBES[0], studies))])
        for probe in PROBES:
            apart = on.exact_sum(source, [near(probe, studies)]) - rest
            by = float(apart.nan_to_num(nan=torch.inf).norm()) / on.plan.clip_norm
            yield Moved(by=by, way=way, probe=_named(probe, studies))


def _of_views(on: Bench) -> Iterator[Moved]:
    """Three views of each study, by the step's own sampler, of a small model that reads pixels."""
    config = on.site.config
    encoder = replace(config.encoder, name="scratch", trainable="all", **TINY)
    whole = replace(config, encoder=encoder, training=replace(config.training, augmentations=3, gradients="vmap"))
    generator = torch_generator(config.seed, "audit", "views")
    model = fresh_model(build(encoder), whole)
    prototypes = torch.randn(8, encoder.embedding_dim, generator=generator)
    model.hash_head.set_prototypes(prototypes, generator=generator)
    images = torch.randint(0, 256, (12, 16, 16), generator=generator, dtype=torch.uint8)
    reports = torch.randint(1, encoder.vocabulary, (12, encoder.max_tokens), generator=generator)
    public = embed_public(model, images[6:], reports[6:])
    if not isinstance(on.plan.event, SampledGaussian):
        return
    everybody = replace(on.plan, event=replace(on.plan.event, sampling_probability=1.0))
    site = replace(on.site, config=whole, model=model, privacy=everybody)
    pixels = replace(on, site=site, plan=everybody, public=public)
    source = pixels.source()
    for studies in NUM_STUDIES:
        patients = torch.tensor([0] * studies + [1, 2])
        private = Records(images[: studies + 2], reports[: studies + 2], patients)
        with ThreadPoolExecutor(1) as reader:
            viewed = _joined(list(source.sampler(model, private)(reader)))
        whole_sum = pixels.exact_sum(source, [viewed])
        apart = whole_sum - pixels.exact_sum(source, [without_first_patient(viewed)])
        yield Moved(
            by=float(apart.norm()) / on.plan.clip_norm, way="three views of pixels", probe=f"a study of {studies}"
        )


def _joined(chunks: list[Records]) -> Records:
    """A sample's chunks as one."""
    first, patients = 0, []
    for chunk in chunks:
        patients.append(chunk.patients + first)
        first += chunk.num_patients
    return Records(
        torch.cat([chunk.images for chunk in chunks]),
        torch.cat([chunk.reports for chunk in chunks]),
        torch.cat(patients),
    )


def _plot(found: list[Moved]) -> Plot:
    """Of each probe the farthest, over all losses and paths."""
    names = {probe: number for number, probe in enumerate(PROBES, start=1)}

    def farthest(probe: Probe, studies: int) -> float:
        return max(min(one.by, MOST_DRAWN) for one in found if one.probe == _named(probe, studies))

    return Plot(
        title="Farthest that each probe moved a step's sum, over all losses and paths",
        x=", ".join(f"{number} {probe.__name__.replace('_', ' ')}" for probe, number in names.items()),
        y="over the clip norm",
        curves=tuple(
            Curve(
                label=f"a patient of {studies} {'study' if studies == 1 else 'studies'}",
                x=tuple(map(float, names.values())),
                y=tuple(farthest(probe, studies) for probe in names),
            )
            for studies in NUM_STUDIES
        ),
    )


def _named(probe: Probe, studies: int) -> str:
    return f"{probe.__name__.replace('_', ' ')} of {studies}"
