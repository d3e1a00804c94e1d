"""The privacy plan of a run: the noise that a config's epsilon needs, known to server and sites before round one."""

from __future__ import annotations

from dataclasses import dataclass

from common.config.schema import RunConfig
from common.losses.objective import build_objective, refuse_coupled
from common.privacy.accountant import epsilon_of, noise_multiplier_for
from common.privacy.events import SampledGaussian


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

    event: SampledGaussian
    delta: float
    clip_norm: float
    learning_rate: float
    public_weight: float

    def epsilon_after(self, rounds: int) -> float:
        """Epsilon that a site has spent after it was asked to train in `rounds` rounds."""
        return epsilon_of([self.event] * rounds, delta=self.delta) if rounds else 0.0


def privacy_plan(config: RunConfig) -> PrivacyPlan | None:
    """The plan of a config; None where `privacy.epsilon` is null.

    Raises:
        ConfigError: No noise reaches the epsilon, or the loss couples records, so that no noise could.
    """
    if config.privacy.epsilon is None:
        return None
    refuse_coupled(build_objective(config.loss, config.code))
    steps = config.training.steps_per_round
    noise = noise_multiplier_for(
        epsilon=config.privacy.epsilon,
        delta=config.privacy.delta,
        sampling_probability=config.training.sampling_probability,
        steps=steps * config.federation.rounds,
    )
    event = SampledGaussian(
        noise_multiplier=noise, sampling_probability=config.training.sampling_probability, steps=steps
    )
    return PrivacyPlan(
        event=event,
        delta=config.privacy.delta,
        clip_norm=config.privacy.clip_norm,
        learning_rate=config.privacy.learning_rate / max(noise, 1.0),
        public_weight=config.privacy.public_weight * noise,
    )
