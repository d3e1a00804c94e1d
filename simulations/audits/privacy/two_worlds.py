"""Two worlds of a hospital's training, with one patient and without: its first update, and the model after rounds.

Each trial is a whole training of its own by the pipeline (`client/training/train.py`): sampling, clip, noise, rate,
the anchors' own gradient, local steps that read what earlier ones made. The patient is the one of some made-up ones,
an image beside another patient's report, whose gradient is longest; a handful of others train with it, the same in both
worlds. All train in every step, so that nothing is hidden by sampling. The hospital is alone: an attacker who knows all
other updates takes them away.

What is read is how far the model moved along the patient's own clipped gradient at the start. Bounds: of any mechanism
and of a Gaussian one from errors of a test whose threshold is set on the first trials (`bounds/two_worlds.py`), and by
the scores (`bounds/gaussian_scores.py`), which decides. Local steps make the scores normal in good approximation alone:
the model that a step reads was moved by the noise before.

Unit of privacy: the patient. Neighbouring relation: add or remove one.

Shapes: N trials, P trained values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from client.dp.engine import PatientDpSgd
from client.dp.records import Records
from client.site import Site
from client.training.train import gradient_source
from common.losses.public import Public
from common.privacy.accountant import epsilon_of
from common.privacy.events import SampledGaussian
from common.seeds import numpy_generator
from simulations.audits.privacy.bounds.gaussian_scores import most_noise
from simulations.audits.privacy.bounds.trade_off import MOST_EPSILON
from simulations.audits.privacy.bounds.two_worlds import Trials, epsilon_of_trials, gaussian_epsilon_of_trials
from simulations.audits.privacy.canaries import everyone_in_each_step
from simulations.audits.privacy.interface import Check, Measured
from simulations.audits.privacy.pipeline import Pipeline
from simulations.audits.privacy.subject import Subject

NUM_OTHERS, NUM_CANDIDATES = 12, 40
UPDATE_TRIALS, MODEL_TRIALS = 100, 80
MOST_ROUNDS = 2
"""Rounds of the final model's trials, at most: each trial is a training."""
CONFIDENCE = 0.95
REFUTED_AT = 1 - 1e-6
"""Confidence at which a claim is refuted."""

Scores = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Worlds:
    """Scores of both worlds, `[N]` each, and what the trainings were charged."""

    with_patient: Scores
    without: Scores
    event: SampledGaussian
    delta: float

    @property
    def claimed(self) -> float:
        """Epsilon that the ledger would state of one trial."""
        return self.epsilon(self.event.noise_multiplier)

    def epsilon(self, noise: float) -> float:
        """Epsilon of one trial, were its noise multiplier another one."""
        if noise == math.inf:
            return 0.0
        return min(epsilon_of([replace(self.event, noise_multiplier=noise)], delta=self.delta), MOST_EPSILON)

    def most_noise(self, confidence: float) -> float:
        """A noise multiplier that is not reached."""
        return most_noise(
            self.with_patient,
            self.without,
            sampling_probability=self.event.sampling_probability,
            steps=self.event.steps,
            confidence=confidence,
        )

    def trials(self) -> Trials:
        """Errors of a test whose threshold lies between the means of the first fifth of the trials."""
        first = len(self.without) // 5
        threshold = (self.with_patient[:first].mean() + self.without[:first].mean()) / 2
        return Trials(
            num_with=len(self.with_patient) - first,
            missed=int((self.with_patient[first:] <= threshold).sum()),
            num_without=len(self.without) - first,
            alarms=int((self.without[first:] > threshold).sum()),
        )


def play(pipeline: Pipeline, subject: Subject, *, rounds: int, num_trials: int) -> Worlds | None:
    """Train in both worlds; None where the run asks for no privacy, or clips pairs.

    Args:
        pipeline: Trains.
        subject: Says with what settings, and has the studies.
        rounds: Of a trial.
        num_trials: Of each world.
    """
    config = subject.config
    subject = everyone_in_each_step(subject.with_config(replace(config, privacy=replace(config.privacy, noise="own"))))
    with subject.sites(pipeline) as sites:
        site, plan = sites[0], sites[0].privacy
        if plan is None or not isinstance(plan.event, SampledGaussian):
            return None
        others = subject.some_studies(NUM_OTHERS)
        patient, direction_P = _worst_patient(subject, site)
        both = _joined(others, patient)
        scores = [
            np.array([_moved(pipeline, replace(site, private=records), direction_P, rounds) for _ in range(num_trials)])
            for records in (both, others)
        ]
        event = replace(plan.event, steps=plan.event.steps * rounds)
        return Worlds(with_patient=scores[0], without=scores[1], event=event, delta=plan.delta)


def _moved(pipeline: Pipeline, site: Site, direction_P: NDArray[np.float64], rounds: int) -> float:
    """How far one training moves the model along a direction."""
    arrays, moved = dict(site.start), 0.0
    for number in range(1, rounds + 1):
        update = pipeline.train(site, arrays, round_number=number)
        change_P = np.concatenate([value.ravel() for value in update.values()])
        moved += float(change_P @ direction_P)
        arrays = {name: value + update[name] if name in update else value for name, value in arrays.items()}
    return moved


def _worst_patient(subject: Subject, site: Site) -> tuple[Records, NDArray[np.float64]]:
    """The study of the longest clipped gradient among made-up ones, and the way `[P]` that a step takes for it."""
    source = gradient_source(site, subject.objective, round_number=1)
    if not isinstance(source, PatientDpSgd):
        raise TypeError("a run of sampled Gaussian steps has another source of gradients")
    pool, public = subject.some_studies(NUM_CANDIDATES), subject.public()
    generator = numpy_generator(subject.seed, "audit", "two worlds")
    reports = torch.from_numpy(generator.permutation(len(pool.patients)))
    candidates = [
        Records(pool.images[[study]], pool.reports[[report]], torch.zeros(1, dtype=torch.int64))
        for study, report in enumerate(reports.tolist())
    ]
    gradients = [_clipped(source, site, one, public) for one in candidates]
    longest = max(range(len(candidates)), key=lambda i: float(gradients[i].norm()))
    return candidates[longest], -(gradients[longest] / gradients[longest].norm()).double().numpy()


def _clipped(source: PatientDpSgd, site: Site, study: Records, public: Public) -> Tensor:
    total = source.clipped_sum(site.model, study, public)
    return torch.cat([value.flatten() for value in total.values()])


def _joined(others: Records, patient: Records) -> Records:
    """The others' studies and one more patient's, who has both halves and is told of as the others' last."""
    number = others.patients.new_full((1,), others.num_patients)
    told = {name: _and_last(getattr(others, name)) for name in ("weights", "groups", "kept", "halves")}
    return Records(
        torch.cat([others.images, patient.images]),
        torch.cat([others.reports, patient.reports]),
        torch.cat([others.patients, number]),
        **told,
    )


def _and_last(values: Tensor | None) -> Tensor | None:
    return None if values is None else torch.cat([values, values[-1:]])


def _measured(pipeline: Pipeline, subject: Subject, *, what: str, rounds: int, num_trials: int) -> Measured:
    worlds = play(pipeline, subject, rounds=rounds, num_trials=num_trials)
    if worlds is None:
        return Measured(
            holds=None,
            sentence="The run asks for no privacy, or clips pairs of patients: this attack is not made for it.",
            power="None.",
        )
    trials, noise = worlds.trials(), worlds.most_noise(REFUTED_AT)
    charged, claimed = worlds.event.noise_multiplier, worlds.claimed
    any_law = epsilon_of_trials(trials, delta=worlds.delta, confidence=CONFIDENCE)
    gaussian = gaussian_epsilon_of_trials(trials, delta=worlds.delta, confidence=CONFIDENCE)
    by_scores = worlds.epsilon(worlds.most_noise(CONFIDENCE))
    return Measured(
        holds=noise >= charged,
        sentence=(
            f"{num_trials} trainings with the patient and as many without, each of {worlds.event.steps} steps that "
            f"all patients join. By {what}, a test misses the patient in {trials.missed / trials.num_with:.0%} and "
            f"sees one who is not there in {trials.alarms / trials.num_without:.0%}. Epsilon is at least {any_law:.2f} "
            f"for any mechanism, {min(gaussian, MOST_EPSILON):.2f} for a Gaussian one, and {by_scores:.2f} by the "
            f"scores; {claimed:.2f} is claimed of these steps."
        ),
        power=(
            f"Noise of less than {charged / max(noise, charged):.0%} of what is charged would be refuted, which "
            "happens to a correct run once in a million audits. A patient whose gradient turns as the model moves is "
            "seen less."
        ),
        claimed_epsilon=claimed,
        lower_bound=by_scores,
        confidence=CONFIDENCE,
    )


def _update(pipeline: Pipeline, subject: Subject) -> Measured:
    return _measured(pipeline, subject, what="one update", rounds=1, num_trials=UPDATE_TRIALS)


def _model(pipeline: Pipeline, subject: Subject) -> Measured:
    rounds = min(subject.config.federation.rounds, MOST_ROUNDS)
    what = f"the model after {rounds} rounds"
    return _measured(pipeline, subject, what=what, rounds=rounds, num_trials=MODEL_TRIALS)


UPDATE = Check(
    name="two-worlds-update",
    question="Can the server tell from one update whether a patient was among the hospital's?",
    claim="An update tells no more of a patient than the epsilon of its round allows.",
    measure=_update,
)
MODEL = Check(
    name="two-worlds-model",
    question="Can anyone tell from the trained model whether a patient was among the hospital's?",
    claim="The model tells no more of a patient than the epsilon of its rounds allows.",
    measure=_model,
)
