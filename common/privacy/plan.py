"""The privacy plan of a run at one site: the noise that the config's epsilon needs, known before round one.

It follows from the config and from the public band of the site's patients alone, so that the site and the server
come to the same plan, and nothing of a patient enters it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeAlias

from common.config.schema import RunConfig
from common.errors import ConfigError
from common.losses.interface import Coupling
from common.losses.objective import build_objective, refuse_coupled
from common.privacy.accountant import epsilon_of, least_noise, truncation_for
from common.privacy.bands import delta_for, most_of
from common.privacy.events import SampledGaussian, TrainingEvent, TruncatedSampledGaussian


@dataclass(frozen=True, kw_only=True)
class PrivacyPlan:
    """What one site spends a round, and how much that is.

    Unit of privacy: the patient. Neighbouring relation: add or remove one patient.

    Attributes:
        event: Privacy event of one round of training at one site.
        delta: Delta at which epsilon is stated.
        clip_norm: Bound on a patient's gradient.
        learning_rate: Of private training, shorter the more noise there is.
        public_weight: Weight of the anchors' own gradient beside the private one, larger the more noise there is.
    """

    event: TrainingEvent
    delta: float
    clip_norm: float
    learning_rate: float
    public_weight: float

    def epsilon_after(self, rounds: int) -> float:
        """Epsilon that a site has spent after it was asked to train in `rounds` rounds."""
        return epsilon_of([self.event] * rounds, delta=self.delta) if rounds else 0.0


PlanOf: TypeAlias = Callable[[str], PrivacyPlan | None]
"""The plan of a site with a band of patients."""


def privacy_plan(config: RunConfig, patients_band: str) -> PrivacyPlan | None:
    """The plan of a config at a site; None where `privacy.epsilon` is null.

    Where `privacy.delta` is null, delta is a tenth of one over the upper end of the band: below one over the number
    of patients, as delta must be, whatever their number.

    Raises:
        ConfigError: No noise reaches the epsilon, or the loss couples records, so that no noise could.
    """
    if config.privacy.epsilon is None:
        return None
    coupling = private_coupling(config)
    delta = config.privacy.delta if config.privacy.delta is not None else delta_for(patients_band)
    whole = _Training(
        sampling_probability=config.training.sampling_probability,
        steps=config.training.steps_per_round * config.federation.rounds,
        most_patients=most_of(patients_band) if coupling is Coupling.PAIRS else None,
        overflow=delta,
    )
    noise = _least_noise(whole, epsilon=config.privacy.epsilon, delta=delta)
    return PrivacyPlan(
        event=replace(whole.event(noise), steps=config.training.steps_per_round),
        delta=delta,
        clip_norm=config.privacy.clip_norm,
        learning_rate=config.privacy.learning_rate / max(noise, 1.0),
        public_weight=config.privacy.public_weight * noise,
    )


def private_coupling(config: RunConfig) -> Coupling:
    """How far the run's loss couples records; no further than a private engine can clip.

    Raises:
        ConfigError: It couples the whole batch, the loss is unknown, or it is clipped pair by pair and the config asks
            for what only the clip by patient offers.
    """
    objective = build_objective(config.loss, config.code)
    refuse_coupled(objective, allowed=Coupling.PAIRS)
    if objective.coupling is Coupling.PAIRS:
        _refuse_other_clips(config)
    return objective.coupling


def _refuse_other_clips(config: RunConfig) -> None:
    asked = {
        "training.gradients": (config.training.gradients, "auto"),
        "training.precision": (config.training.precision, "float32"),
        "training.augmentations": (config.training.augmentations, 1),
        "privacy.clipping": (config.privacy.clipping, "flat"),
    }
    for key, (value, known) in asked.items():
        if value != known:
            raise ConfigError(
                f"{key}={value}: loss.name={config.loss.name} is clipped pair by pair and knows {known} alone; "
                f"set {key}={known}, or loss.name=anchor_contrast"
            )


@dataclass(frozen=True, kw_only=True)
class _Training:
    """All steps of a run at one site, but for their noise.

    Attributes:
        sampling_probability: Of a patient in a step.
        steps: Of the whole run.
        most_patients: Upper end of the site's band where a step must not read too many patients; None where it may.
        overflow: Probability at most, over all steps together, with which more patients are sampled than are read.
    """

    sampling_probability: float
    steps: int
    most_patients: int | None
    overflow: float

    def event(self, noise_multiplier: float) -> TrainingEvent:
        if self.most_patients is None:
            return SampledGaussian(
                noise_multiplier=noise_multiplier, sampling_probability=self.sampling_probability, steps=self.steps
            )
        most_sampled = truncation_for(
            most_patients=self.most_patients,
            sampling_probability=self.sampling_probability,
            overflow=self.overflow / max(self.steps, 1),
        )
        return TruncatedSampledGaussian(
            noise_multiplier=noise_multiplier,
            sampling_probability=self.sampling_probability,
            steps=self.steps,
            most_patients=self.most_patients,
            most_sampled=max(most_sampled, 1),
        )


@lru_cache(maxsize=256)
def _least_noise(training: _Training, *, epsilon: float, delta: float) -> float:
    return least_noise(lambda noise: [training.event(noise)], epsilon=epsilon, delta=delta)
