"""Does each patient join each step by a coin of their own?

The accountant's figure rests on Poisson sampling: that no patient's part in a step tells of another's, nor of the next
step's. Batches of a shuffled order are not that, and are no cheaper (arXiv 2403.17673). The step's own sampler is asked
for many samples of patients that can be told apart; three scores are held against those of fair coins.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import torch
from torch import Tensor

from client.dp.records import Records
from common.privacy.events import SampledGaussian
from simulations.audits.privacy.interface import Check, Measured
from simulations.audits.privacy.pipeline import Pipeline
from simulations.audits.privacy.steps import BY_PAIRS, Bench, bench
from simulations.audits.privacy.subject import Subject

NUM_PATIENTS, NUM_STEPS = 60, 1500
MOST_SCORE = 6.0
"""Standard score that none may exceed: 6e-9 of right samplers do for one of the three."""
STAND_IN = 0.3
"""Tried where the config reads every patient in every step, so that there are no coins to look at."""


def measure(pipeline: Pipeline, subject: Subject) -> Measured:
    """Draw many samples, and hold them against fair coins."""
    with bench(pipeline, subject) as on:
        if not isinstance(on.plan.event, SampledGaussian):
            return BY_PAIRS
        probability = on.plan.event.sampling_probability
        probability = probability if 0 < probability < 1 else STAND_IN
        chosen = _samples(on, on.plan.event, subject, probability)
    scores = sampling_scores(chosen, probability)
    worst = max(scores, key=lambda name: abs(scores[name]))
    return Measured(
        holds=all(abs(score) <= MOST_SCORE for score in scores.values()),
        sentence=(
            f"Over {NUM_STEPS:,} samples of {NUM_PATIENTS} patients at probability {probability:g}, the farthest of "
            f"three figures from that of fair coins is {worst}, at a standard score of {scores[worst]:.1f}; it may be "
            f"{MOST_SCORE:g}."
        ),
        power="Shuffled batches, batches of one size, and a sample that two steps share are seen.",
    )


CHECK = Check(
    name="sampling",
    question="Does each patient join each step by a coin of their own?",
    claim="Which patients a step reads is chance, drawn anew for each patient and each step.",
    measure=measure,
)


def sampling_scores(chosen_TP: Tensor, probability: float) -> dict[str, float]:
    """Standard scores of T samples of P patients against independent coins: 0 on average, of deviation 1."""
    steps, patients = chosen_TP.shape
    variance = probability * (1 - probability)
    expected = patients * variance
    # The fourth central moment of a binomial gives the variance of the sample variance.
    fourth = expected * (1 + (3 * patients - 6) * variance)
    sizes_T, centred_TP = chosen_TP.sum(dim=1), chosen_TP - probability
    return {
        "participation": float(centred_TP.sum()) / math.sqrt(patients * steps * variance),
        "the variance of a sample's size": float(sizes_T.var() - expected) / math.sqrt((fourth - expected**2) / steps),
        "what two steps have in common": float((centred_TP[1:] * centred_TP[:-1]).sum())
        / (variance * math.sqrt(patients * (steps - 1))),
    }


def _samples(on: Bench, event: SampledGaussian, subject: Subject, probability: float) -> Tensor:
    """Who was in each sample, `[T, P]`: a patient's number is written into the study."""
    plan = replace(on.plan, event=replace(event, sampling_probability=probability))
    drawing = replace(on, plan=plan, site=replace(on.site, privacy=plan))
    source = drawing.source()
    some = subject.some_studies(1)
    images, reports = (
        value[:1].expand(NUM_PATIENTS, *value.shape[1:]).clone() for value in (some.images, some.reports)
    )
    numbers = torch.arange(NUM_PATIENTS)
    reports.view(NUM_PATIENTS, -1)[:, 0] = numbers.to(reports.dtype)
    records = Records(images, reports, numbers)
    chosen = torch.zeros(NUM_STEPS, NUM_PATIENTS, dtype=torch.float64)
    with ThreadPoolExecutor(1) as reader:
        sample = source.sampler(on.model, records)
        for step in range(NUM_STEPS):
            for chunk in sample(reader):
                chosen[step, chunk.reports.reshape(len(chunk.patients), -1)[:, 0].long()] = 1.0
    return chosen
