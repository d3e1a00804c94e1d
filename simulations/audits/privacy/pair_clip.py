"""Does one patient ever move the sum of a loss that is clipped pair by pair by more than is stated?

`pair_clip` takes other patients' reports for negatives, so each pair's gradient is clipped by itself: the stated
sensitivity is (1 + 2 k) C, as long as a step reads one study each of at most M patients (`client/dp/pair_clip.py`). The
patients of `probes.py`, with one study each, are tried with and without.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from client.dp.clipping import ROUNDING_MARGIN
from common.errors import ConfigError
from common.privacy.events import TruncatedSampledGaussian
from simulations.audits.privacy.interface import Check, Measured
from simulations.audits.privacy.pipeline import Pipeline
from simulations.audits.privacy.probes import CROWD, PROBES, crowd, without_first_patient
from simulations.audits.privacy.steps import Bench, bench
from simulations.audits.privacy.subject import Subject

LOSS = "pair_clip"
LEAST_REACHED = 0.1
"""Of the sensitivity: the bound adds up what no crowd does to one patient at once, so it is not reached."""


def measure(pipeline: Pipeline, subject: Subject) -> Measured:
    """Fuzz the sum over pairs."""
    config = subject.config
    paired = replace(config, loss=replace(config.loss, name=LOSS))
    try:
        with bench(pipeline, subject.with_config(paired)) as on:
            event = on.plan.event
            most_sampled = event.most_sampled if isinstance(event, TruncatedSampledGaussian) else 1
            moved = _fuzz(on, subject, most_sampled)
            stated = (1 + 2 * paired.loss.negative_clip) * on.plan.clip_norm
    except ConfigError as error:
        return Measured(holds=None, sentence=f"The config does not train so: {error}.", power="Nothing was looked at.")
    probe = max(moved, key=lambda name: moved[name])
    worst = moved[probe] / stated
    return Measured(
        holds=worst <= 1 + ROUNDING_MARGIN if worst >= LEAST_REACHED else None,
        sentence=f"The worst of {len(moved)} patients ({probe}) moved the sum by {worst:.4f} of the stated {stated:g}.",
        power=f"Among {CROWD} near copies of one study, any of these patients that moves the sum too far is seen.",
    )


CHECK = Check(
    name="pair-clip",
    question="Does one patient ever move the sum of a loss that is clipped pair by pair by more than is stated?",
    claim="Where a loss compares patients, each comparison is clipped, so that one patient counts only so much.",
    measure=measure,
)


def _fuzz(on: Bench, subject: Subject, most_sampled: int) -> dict[str, float]:
    source, records, moved = on.source(), subject.some_studies(8), {}
    for probe in PROBES:
        near = replace(crowd(records, probe, studies=1), views=None)
        near = near.rows(slice(most_sampled))
        apart = on.exact_sum(source, [near]) - on.exact_sum(source, [without_first_patient(near)])
        moved[probe.__name__.replace("_", " ")] = float(apart.nan_to_num(nan=torch.inf).norm())
    return moved
