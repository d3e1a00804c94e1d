"""Canaries made of studies: what a hospital could really be handed, read through the model and loss of the run.

Two kinds. *Strange* studies: images and reports made of chance, far from all others, so that their gradients are long
and point different ways. *Hubs*: the anchors' mean image beside a report of its own, near to every anchor: such a study
moves every other patient's gradient where a loss couples patients. Features are made where towers see features, pixels
and words where they see those.

Read by the least squares estimate of the coins, shrunk as their variance says: the gradients of studies are not
orthogonal. So only the guesses are sound to count, and the bound by curves decides; every patient is in every step.

Unit of privacy: the patient. Neighbouring relation: add or remove one.

Shapes: M canaries, R studies, P trained values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from client.dp.engine import PatientDpSgd
from client.dp.records import Records
from client.training.train import gradient_source
from common.encoders.public_parts import part_public
from common.seeds import torch_generator
from simulations.audits.privacy.bounds.guesses import epsilon_of_guesses
from simulations.audits.privacy.canaries import Canaries, everyone_in_each_step, play, studies_of_each
from simulations.audits.privacy.canaries_gradient import CONFIDENCE, REFUTED_AT, epsilon_by_curves
from simulations.audits.privacy.interface import Check, Measured
from simulations.audits.privacy.pipeline import PRODUCTION, Pipeline
from simulations.audits.privacy.subject import Subject

NUM_CANARIES, NUM_GUESSES = 240, 60
"""The bound that is shown rests on the surest guesses; the claim is refuted by guesses about all."""
_SPREAD = 3.0
"""Of a strange study's features, over that of the anchors'."""

Make = Callable[[Tensor, int, torch.Generator], Tensor]


def _strange(public: Tensor, number: int, generator: torch.Generator) -> Tensor:
    """Items `[R, ...]` unlike the public ones, in their form."""
    shape = (number, *public.shape[1:])
    if not public.is_floating_point():
        most = int(public.max()) + 1
        return torch.randint(0, most, shape, generator=generator).to(public)
    chance = torch.randn(shape, generator=generator).to(public)
    return public.mean(dim=0) + _SPREAD * public.std(dim=0) * chance


def _hubs(public: Tensor, number: int, generator: torch.Generator) -> Tensor:  # noqa: ARG001 - all alike
    """The public ones' mean."""
    mean = public.double().mean(dim=0)
    return (mean if public.is_floating_point() else mean.round()).to(public).expand(number, *public.shape[1:]).clone()


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How the studies of a canary are made of the anchors'.

    Attributes:
        images: Makes the images.
        reports: Makes the reports.
        words: What they are.
    """

    images: Make
    reports: Make
    words: str


STRANGE_KIND = Kind(images=_strange, reports=_strange, words="images and reports made of chance")
HUB_KIND = Kind(images=_hubs, reports=_strange, words="the anchors' mean image beside reports made of chance")


def canaries_of(subject: Subject, kind: Kind, num_canaries: int) -> Canaries:
    """Canaries of a kind, and how a step's sum is read for them.

    Args:
        subject: Whose model and loss they go through; every patient is in each of its steps.
        kind: What they are made of.
        num_canaries: M.
    """
    anchors = part_public(subject.consortium.public(), subject.config).anchors.to(subject.config.device)
    generator = torch_generator(subject.seed, "audit", "canaries", kind.words)
    patients = studies_of_each(num_canaries)
    records = Records(
        kind.images(anchors.images[:], len(patients), generator),
        kind.reports(anchors.reports[:], len(patients), generator),
        patients,
    )
    canaries = Canaries(
        model=subject.model,
        objective=subject.objective,
        public=subject.public(),
        records=records,
        read=lambda total_P: total_P[:0],
    )
    return replace(canaries, read=_reading(_clipped(subject, canaries)))


def _clipped(subject: Subject, canaries: Canaries) -> Tensor:
    """What each canary adds to a step's sum, `[M, P]`, over the clip."""
    with subject.sites(PRODUCTION) as sites:
        source = gradient_source(sites[0], canaries.objective, round_number=1)
    if not isinstance(source, PatientDpSgd):
        raise TypeError("a run of sampled Gaussian steps has another source of gradients")
    sums = []
    for patient in range(canaries.records.num_patients):
        own = (canaries.records.patients == patient).nonzero().flatten()
        alone = canaries.records.among(own, torch.zeros_like(own))
        total = source.clipped_sum(canaries.model, alone, canaries.public)
        sums.append(torch.cat([value.flatten() for value in total.values()]) / source.clip_norm)
    return torch.stack(sums)


def _reading(adds_MP: Tensor, *, noise: float = 1.0) -> Callable[[Tensor], Tensor]:
    """Ridge estimate of who is in, with half of them taken for granted; `noise` is its share of the coins' variance."""
    gram_MM = adds_MP @ adds_MP.T
    solve_MM = torch.linalg.inv(gram_MM + noise * torch.eye(len(adds_MP), dtype=adds_MP.dtype))
    return lambda total_P: solve_MM @ (adds_MP @ total_P - gram_MM.sum(dim=1) / 2)


def _measured(pipeline: Pipeline, subject: Subject, kind: Kind) -> Measured:
    config = subject.config
    if config.privacy.epsilon is None:
        return Measured(
            holds=None,
            sentence="The run asks for no privacy (privacy.epsilon=null), so there is no epsilon to hold it against.",
            power="None: nothing is claimed.",
        )
    own = subject.with_config(replace(config, privacy=replace(config.privacy, noise="own")))
    everyone = everyone_in_each_step(own)
    rounds = config.federation.rounds
    canaries = canaries_of(everyone, kind, NUM_CANARIES)
    run = play(pipeline, everyone, canaries, rounds=rounds, label=kind.words)
    if run is None:
        raise TypeError("a run with an epsilon has a plan")
    guesses, claimed = run.guesses(NUM_GUESSES), run.plan.epsilon_after(rounds)
    bound = epsilon_by_curves(run, guesses, CONFIDENCE)
    any_law = epsilon_of_guesses(guesses, delta=run.plan.delta, confidence=CONFIDENCE)
    all_guessed = run.guesses(NUM_CANARIES)
    all_right = replace(all_guessed, num_correct=all_guessed.num_guesses)
    return Measured(
        holds=epsilon_by_curves(run, all_guessed, REFUTED_AT) <= claimed,
        sentence=(
            f"{NUM_CANARIES} canary patients of {kind.words}, in or out by a coin, over {run.event.steps} steps that "
            f"all join. Of the {guesses.num_guesses} surest guesses {guesses.num_correct} are right. Epsilon is at "
            f"least {any_law:.2f} for any mechanism and {bound:.2f} for one with these steps; {claimed:.2f} is claimed."
        ),
        power=(
            f"Were every guess right, an epsilon of up to {epsilon_by_curves(run, all_right, REFUTED_AT):.2f} would be "
            "refuted, which happens to a correct run once in a million audits. It is weaker than canaries whose "
            "gradients are chosen, and goes through the run's own model and loss, as those do not."
        ),
        claimed_epsilon=claimed,
        lower_bound=bound,
        confidence=CONFIDENCE,
    )


def _of_strange(pipeline: Pipeline, subject: Subject) -> Measured:
    return _measured(pipeline, subject, STRANGE_KIND)


def _of_hubs(pipeline: Pipeline, subject: Subject) -> Measured:
    return _measured(pipeline, subject, HUB_KIND)


STRANGE = Check(
    name="canaries-strange",
    question="How much do a run's noised sums tell of patients whose studies are unlike all others?",
    claim="No attack on one run shows more than the stated epsilon, whatever a study looks like.",
    measure=_of_strange,
)
HUBS = Check(
    name="canaries-hub",
    question="How much do they tell of patients whose image is near to everybody's?",
    claim="No attack on one run shows more than the stated epsilon, also of patients who would move others' gradients.",
    measure=_of_hubs,
)
