"""One run with many canaries: each takes part by a coin of its own, and the steps' noised sums are read for the coins.

White box: the auditor sees each step's noised sum and knows all that is not a coin, so that it reads the canaries
alone. The model stays as it is over the steps; a server may do that. What is attacked is the step that the pipeline
makes: its sampler, gradients by patient, clip, noise and divisor.

Unit of privacy: the patient. A canary is a patient, of one to three studies. Neighbouring relation: add or remove one.

Shapes: M canaries, P trained values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from client.dp.records import Records
from client.dp.step import num_trained
from client.site import Site
from client.training.train import views_of
from common.encoders.dual import DualEncoder
from common.errors import ConfigError
from common.losses.objective import Objective
from common.losses.public import Public
from common.privacy.bands import band_of
from common.privacy.events import SampledGaussian
from common.privacy.plan import PrivacyPlan, privacy_plan
from common.seeds import numpy_generator
from simulations.audits.privacy.bounds.guesses import Guesses
from simulations.audits.privacy.pipeline import Pipeline
from simulations.audits.privacy.subject import Subject

STUDIES_OF_A_CANARY = 3
"""The first canary has one study, the second two, and so on to this, and again from one."""


@dataclass(frozen=True, kw_only=True)
class Canaries:
    """Patients to be planted, and how they are read.

    Attributes:
        model: What the step differentiates.
        objective: What it minimises.
        public: What a study is compared with.
        records: Studies of all M canaries.
        read: Of a noised sum `[P]` over the sensitivity, a score `[M]` of each canary, higher where it seems to be in.
    """

    model: DualEncoder
    objective: Objective
    public: Public
    records: Records
    read: Callable[[Tensor], Tensor]

    def some(self, is_in_M: NDArray[np.bool_]) -> Records:
        """The studies of those that are in, their patients renumbered without gaps."""
        chosen_M = torch.from_numpy(is_in_M)
        studies = chosen_M[self.records.patients].nonzero().flatten()
        numbers_M = torch.cumsum(chosen_M, dim=0) - 1
        return self.records.among(studies, numbers_M[self.records.patients[studies]])


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one run told.

    Attributes:
        is_in_M: The coins.
        score_M: Sum over the steps of what was read, in units of the sensitivity.
        plan: What a round was charged.
        rounds: Rounds of the run.
    """

    is_in_M: NDArray[np.bool_]
    score_M: NDArray[np.float64]
    plan: PrivacyPlan
    rounds: int

    @property
    def event(self) -> SampledGaussian:
        """What the whole run was charged."""
        event = self.plan.event
        if not isinstance(event, SampledGaussian):
            raise ConfigError("loss.name: canaries are read from sums of patients' gradients, not of pairs'")
        return replace(event, steps=event.steps * self.rounds)

    @property
    def inside(self) -> NDArray[np.float64]:
        """Scores of the canaries that were in."""
        return self.score_M[self.is_in_M]

    @property
    def outside(self) -> NDArray[np.float64]:
        """Scores of those that were out."""
        return self.score_M[~self.is_in_M]

    def guesses(self, num_guesses: int) -> Guesses:
        """The highest scores are guessed in and the lowest out, half of the guesses each."""
        half = num_guesses // 2
        order = np.argsort(self.score_M)
        right = int(self.is_in_M[order[-half:]].sum() + (~self.is_in_M[order[:half]]).sum())
        return Guesses(num_canaries=len(self.is_in_M), num_guesses=2 * half, num_correct=right)


def studies_of_each(num_canaries: int) -> Tensor:
    """Patient number of each study of M canaries, of one to three studies each."""
    counts_M = torch.arange(num_canaries) % STUDIES_OF_A_CANARY + 1
    return torch.arange(num_canaries).repeat_interleave(counts_M)


def site_of_canaries(subject: Subject, site: Site, num_canaries: int) -> Site:
    """A site whose patients are as many canaries as `num_canaries`: its band, and so its plan, is theirs."""
    return replace(site, privacy=privacy_plan(subject.config, band_of(num_canaries)))


def everyone_in_each_step(subject: Subject) -> Subject:
    """The same run with every patient in every step: nothing is hidden by sampling."""
    config = subject.config
    return subject.with_config(replace(config, training=replace(config.training, sampling_probability=1.0)))


def play(pipeline: Pipeline, subject: Subject, canaries: Canaries, *, rounds: int, label: str) -> Run | None:
    """Toss the coins and make the steps of a run; None where the run asks for no privacy.

    The noise is all the site's own: what sites share of it is attacked by colluders.

    Args:
        pipeline: Makes the steps.
        subject: Says with what settings.
        canaries: Who is planted.
        rounds: Of the run.
        label: Of the coins, which follow from the subject's seed; the noise does not.
    """
    config = subject.config
    subject = subject.with_config(replace(config, privacy=replace(config.privacy, noise="own")))
    num_canaries = canaries.records.num_patients
    coins = numpy_generator(subject.seed, "audit", "canaries", label)
    is_in_M = coins.random(num_canaries) < 0.5
    records = canaries.some(is_in_M)
    views_of(subject.config).refuse_features(records.images[:0])
    with subject.sites(pipeline) as sites:
        site = site_of_canaries(subject, sites[0], num_canaries)
        plan = site.privacy
        if plan is None:
            return None
        score_M = torch.zeros(num_canaries, dtype=torch.float64)
        size = num_trained(canaries.model)
        for round_number in range(1, rounds + 1):
            source = pipeline.gradient_source(site, canaries.objective, round_number=round_number)
            for _ in range(plan.event.steps):
                gradients = source.gradient(canaries.model, records, canaries.public)
                total_P = torch.cat([value.flatten() for value in gradients.values()]).double()
                score_M += canaries.read(total_P.view(size) * (plan.expected_patients / plan.clip_norm))
    return Run(is_in_M=is_in_M, score_M=score_M.numpy(), plan=plan, rounds=rounds)
