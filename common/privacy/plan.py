"""The privacy plan of a run at one site: the noise that the config's epsilon needs, known before round one.

It follows from the config and from the public band of the site's patients alone, so that the site and the server
come to the same plan, and nothing of a patient enters it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from common.config.schema import RunConfig
from common.losses.objective import build_objective, refuse_coupled
from common.privacy.accountant import epsilon_of, noise_multiplier_for
from common.privacy.bands import delta_for
from common.privacy.events import SampledGaussian, TrainingEvent


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
    refuse_coupled(build_objective(config.loss, config.code))
    delta = config.privacy.delta if config.privacy.delta is not None else delta_for(patients_band)
    steps = config.training.steps_per_round
    noise = noise_multiplier_for(
        epsilon=config.privacy.epsilon,
        delta=delta,
        sampling_probability=config.training.sampling_probability,
        steps=steps * config.federation.rounds,
    )
    event = SampledGaussian(
        noise_multiplier=noise, sampling_probability=config.training.sampling_probability, steps=steps
    )
    return PrivacyPlan(
        event=event,
        delta=delta,
        clip_norm=config.privacy.clip_norm,
        learning_rate=config.privacy.learning_rate / max(noise, 1.0),
        public_weight=config.privacy.public_weight * noise,
    )
