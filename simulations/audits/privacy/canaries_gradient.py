"""Canaries whose gradients are chosen: each a coordinate of its own, longer than the clip.

No study can tell more of itself to a step than one whose clipped gradient has the length of the clip and is orthogonal
to all others. The canaries are that worst case: the trained values are as many as the model's, the objective of a
canary is their inner product with what stands in place of its image, and so that is its gradient, exactly. All the rest
is the pipeline's: sampler, mean over a patient's studies, clip, noise, divisor.

Three bounds are made of the same scores (`bounds/`), each with what is fixed beforehand: `FEW` guesses for the first,
`MANY` for the second. The check holds where the third does not refute the claim at one in a million.

Shapes: M canaries, P trained values, B studies.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from client.dp.records import Records
from client.dp.step import num_trained
from common.encoders.dual import DualEncoder, Embedded
from common.encoders.interface import Tower
from common.hashing.head import HashHead
from common.losses.interface import Coupling
from common.losses.objective import Objective
from common.losses.public import Public
from common.privacy.accountant import epsilon_of
from common.privacy.events import SampledGaussian
from simulations.audits.privacy.bounds.gaussian_scores import most_noise
from simulations.audits.privacy.bounds.guesses import (
    Guesses,
    epsilon_of_guesses,
    largest_refuted,
    refuted_by_guesses,
)
from simulations.audits.privacy.bounds.trade_off import MOST_EPSILON, Curve, curve_of_lines, gaussian_curve
from simulations.audits.privacy.canaries import Canaries, Run, everyone_in_each_step, play, studies_of_each
from simulations.audits.privacy.interface import Check, Measured, Plot
from simulations.audits.privacy.interface import Curve as Line
from simulations.audits.privacy.pipeline import Pipeline
from simulations.audits.privacy.subject import Subject

NUM_CANARIES = 1000
FEW, MANY = 100, 200
CONFIDENCE = 0.95
"""Of the bounds that are shown."""
REFUTED_AT = 1 - 1e-6
"""Confidence at which a claim is refuted: a correct run fails this check once in a million audits."""

_DELTAS = tuple(10.0**-power for power in np.arange(0.5, 5.6, 0.75))
_HALVINGS = 7


class _Whole(Tower):
    """All trained values as one linear map to a number."""

    def __init__(self, num_values: int) -> None:
        super().__init__()
        self.linear = nn.Linear(num_values, 1, bias=False)

    def forward(self, features_BP: Tensor) -> Tensor:
        """Inner products `[B, 1]`."""
        value_B1: Tensor = self.linear(features_BP)
        return value_B1


class _GradientSpace(DualEncoder):
    """A model whose output is the inner product of its trained values with what stands in place of an image."""

    def __init__(self, num_values: int) -> None:
        head = HashHead(embedding_dim=1, bit_width=1, num_centres=1, generator=torch.Generator())
        super().__init__(_Whole(num_values), Tower(), head.requires_grad_(requires_grad=False))

    def forward(self, images: Tensor, reports: Tensor) -> tuple[Embedded, Embedded]:
        """The inner products as images, and nothing as reports."""
        nothing_B1 = torch.zeros_like(reports)
        return Embedded(self.image_tower(images), nothing_B1), Embedded(nothing_B1, nothing_B1)


@dataclass(frozen=True)
class _Itself:
    """A loss that is the model's output."""

    coupling: Coupling = Coupling.NONE

    def __call__(
        self,
        image_BD: Tensor,
        report_BD: Tensor,  # noqa: ARG002 - the signature of a loss
        anchor_image_KD: Tensor,  # noqa: ARG002
        anchor_report_KD: Tensor,  # noqa: ARG002
    ) -> Tensor:
        """Values `[B]`."""
        return image_BD[:, 0]


def canaries_of(subject: Subject, num_canaries: int) -> Canaries:
    """Canaries in a space of as many values as the model trains, or as there are canaries if they are more."""
    size = max(num_trained(subject.model), num_canaries)
    patients = studies_of_each(num_canaries)
    gradients = torch.zeros(len(patients), size)
    # Ten and more times the clip, and another length for each study.
    lengths = subject.config.privacy.clip_norm * (10.0 + torch.arange(len(patients)) % 7)
    gradients[torch.arange(len(patients)), patients] = lengths
    nothing = Embedded(torch.zeros(1, 1), torch.zeros(1, 1))
    return Canaries(
        model=_GradientSpace(size),
        objective=Objective(_Itself(), 0.0),
        public=Public(nothing, nothing, torch.zeros(1, 1), torch.ones(1, 1)),
        records=Records(gradients, torch.zeros(len(patients), 1), patients),
        read=lambda total_P: total_P[:num_canaries],
    )


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Lower bounds of one run's epsilon, at the plan's delta.

    Attributes:
        guesses: Of any mechanism (Steinke et al. 2023).
        curves: Of a sampled Gaussian of these steps (Mahloujifar et al. 2024).
        scores: Of one with Gaussian noise, by the scores themselves.
    """

    guesses: float
    curves: float
    scores: float


def bounds_of(run: Run, confidence: float) -> Bounds:
    """All three, each with the confidence."""
    few, many = (run.guesses(round(len(run.is_in_M) * share / NUM_CANARIES)) for share in (FEW, MANY))
    return Bounds(
        guesses=epsilon_of_guesses(few, delta=run.plan.delta, confidence=confidence),
        curves=epsilon_by_curves(run, many, confidence),
        scores=epsilon_by_scores(run, confidence),
    )


def epsilon_by_scores(run: Run, confidence: float) -> float:
    """What the scores show of the noise, as the accountant states it."""
    noise = _noise_shown(run, confidence)
    return 0.0 if noise == math.inf else _stated(run, noise)


def epsilon_by_curves(run: Run, guesses: Guesses, confidence: float) -> float:
    """What guesses refute among sampled Gaussians of these steps, of which each has its own noise."""
    curve_of, charged = _curves(run.event), run.event.noise_multiplier

    def is_refuted(share: float) -> bool:
        return refuted_by_guesses(guesses, curve_of(charged / max(share, 1e-3)), confidence=confidence)

    # As a share of what the claim allows, so that the halvings are of something near 1.
    share = largest_refuted(is_refuted, halvings=_HALVINGS)
    return _stated(run, charged / share) if share else 0.0


def _curves(event: SampledGaussian) -> Callable[[float], Curve]:
    """Trade-off curve of the event with another noise multiplier."""
    if event.sampling_probability == 1:
        return lambda noise: gaussian_curve(math.sqrt(event.steps) / noise)

    def lines(noise: float) -> Curve:
        with_noise = replace(event, noise_multiplier=noise)
        return curve_of_lines([(epsilon_of([with_noise], delta=delta), delta) for delta in _DELTAS])

    return lines


def _noise_shown(run: Run, confidence: float) -> float:
    event = run.event
    return most_noise(
        run.inside,
        run.outside,
        sampling_probability=event.sampling_probability,
        steps=event.steps,
        confidence=confidence,
    )


def _stated(run: Run, noise: float) -> float:
    """Epsilon of the run with another noise multiplier; never more than what a bound can say."""
    return min(epsilon_of([replace(run.event, noise_multiplier=noise)], delta=run.plan.delta), MOST_EPSILON)


def _measured(pipeline: Pipeline, subject: Subject, *, label: str) -> Measured:
    loss = replace(subject.config.loss, name="anchor_contrast")
    subject = subject.with_config(replace(subject.config, loss=loss))
    rounds = subject.config.federation.rounds
    run = play(pipeline, subject, canaries_of(subject, NUM_CANARIES), rounds=rounds, label=label)
    if run is None:
        return Measured(
            holds=None,
            sentence="The run asks for no privacy (privacy.epsilon=null), so there is no epsilon to hold it against.",
            power="None: nothing is claimed.",
        )
    event, claimed = run.event, run.plan.epsilon_after(rounds)
    bounds = bounds_of(run, CONFIDENCE)
    noise = _noise_shown(run, REFUTED_AT)
    holds = noise >= event.noise_multiplier
    return Measured(
        holds=holds,
        sentence=(
            f"{NUM_CANARIES:,} canary patients, each with a gradient of its own as long as the clip, in or out by a "
            f"coin, over {event.steps} steps at a sampling rate of {event.sampling_probability:g}. Of the "
            f"{run.guesses(MANY).num_guesses} surest guesses {run.guesses(MANY).num_correct} are right. Epsilon is at "
            f"least {bounds.guesses:.2f} for any mechanism, {bounds.curves:.2f} for one with these steps, and "
            f"{bounds.scores:.2f} by the scores for one with Gaussian noise; {claimed:.2f} is claimed at a delta of "
            f"{run.plan.delta:.1e}."
        ),
        power=(
            f"Noise of less than {100 * event.noise_multiplier / max(noise, event.noise_multiplier):.0f}% of what is "
            "charged would be refuted here, and so would a patient who counts for as much more than the clip. A "
            "correct run is refuted once in a million audits. Not seen: a loss that couples patients, and noise that "
            "repeats over rounds or sites."
        )
        if holds
        else "Enough: the claim is refuted, which happens to a correct run once in a million audits.",
        claimed_epsilon=claimed,
        lower_bound=bounds.scores,
        confidence=CONFIDENCE,
        plots=(_plot(run),),
    )


def _plot(run: Run) -> Plot:
    """Histograms of the scores."""
    edges = np.linspace(run.score_M.min(), run.score_M.max(), 31)
    middles = tuple(((edges[1:] + edges[:-1]) / 2).tolist())
    counts = {
        "took part": np.histogram(run.inside, edges)[0],
        "did not": np.histogram(run.outside, edges)[0],
    }
    return Plot(
        title="What the sums tell of each canary: the more the two overlap, the less can be told",
        x="score, in clips",
        y="canaries",
        curves=tuple(Line(label=label, x=middles, y=tuple(map(float, count))) for label, count in counts.items()),
    )


def _everyone(pipeline: Pipeline, subject: Subject) -> Measured:
    return _measured(pipeline, everyone_in_each_step(subject), label="everyone")


def _sampled(pipeline: Pipeline, subject: Subject) -> Measured:
    return _measured(pipeline, subject, label="sampled")


EVERYONE = Check(
    name="canaries-everyone",
    question="How much do a run's noised sums tell of patients who are in every step?",
    claim="No attack on one run shows more than the stated epsilon, where nothing is hidden by sampling.",
    measure=_everyone,
)
SAMPLED = Check(
    name="canaries-sampled",
    question="How much do they tell of patients who join steps by chance, as in this run?",
    claim="No attack on one run shows more than the stated epsilon.",
    measure=_sampled,
)
