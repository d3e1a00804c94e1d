"""The privacy plan of a run at one site: the noise that the config's epsilon needs, known before round one.

It follows from the config and from the public band of the site's patients alone, so that the site and the server
come to the same plan, and nothing of a patient enters it.

Where sites share noise (`privacy.noise=shared`) it cancels only if all of them scale it alike. So all sites of the
cohort have one noise multiplier, that of the band which needs most, one learning rate, and one public normaliser, the
expected patients of the middle site: what a site has more than that shows in the length of its update.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import fmean
from typing import TypeAlias

from common.config.schema import RunConfig
from common.errors import ConfigError
from common.fairness.emphasis import SAMPLING, mean_emphasis
from common.losses.interface import Coupling
from common.losses.objective import build_objective, refuse_coupled, refuse_terms_of_anchors
from common.pair_noise.law import PairLaw
from common.pair_noise.peers import num_peers
from common.privacy.accountant import epsilon_of, least_noise, truncation_for
from common.privacy.bands import delta_for, middle_of, most_of
from common.privacy.events import SampledGaussian, TrainingEvent, TruncatedSampledGaussian

SHARED = "shared"
"""`privacy.noise` of a run whose sites share noise."""


@dataclass(frozen=True, kw_only=True)
class PrivacyPlan:
    """What one site spends a round, and how much that is.

    Unit of privacy: the patient. Neighbouring relation: add or remove one patient.

    Attributes:
        event: Privacy event of one round of training at one site.
        delta: Delta at which epsilon is stated.
        clip_norm: Bound on a patient's gradient.
        expected_patients: Public normaliser of a step.
        learning_rate: Of private training, shorter the more noise there is.
        public_weight: Weight of the anchors' own gradient beside the private one, larger the more noise there is.
        pair_law: How the event's noise is made of own and shared parts; None where it is all the site's own.
    """

    event: TrainingEvent
    delta: float
    clip_norm: float
    expected_patients: float
    learning_rate: float
    public_weight: float
    pair_law: PairLaw | None = None

    @property
    def own_multiplier(self) -> float:
        """Multiplier of the noise that is the site's own: what remains of it in the sum over all sites."""
        return own_multiplier(self.event.noise_multiplier, self.pair_law)

    @property
    def event_alone(self) -> TrainingEvent:
        """What a round costs if everybody that noise is shared with told the server what they know."""
        return replace(self.event, noise_multiplier=self.own_multiplier)

    def epsilon_after(self, rounds: int) -> float:
        """Epsilon that a site has spent after it was asked to train in `rounds` rounds."""
        return epsilon_of([self.event] * rounds, delta=self.delta) if rounds else 0.0

    def epsilon_alone_after(self, rounds: int) -> float | None:
        """The same if everybody that noise is shared with told the server what they know; None where none is shared.

        What an absent site's share was replaced by is not counted: a site's own ledger knows it, and states less.
        """
        if self.pair_law is None:
            return None
        return epsilon_of([self.event_alone] * rounds, delta=self.delta) if rounds else 0.0


PlanOf: TypeAlias = Callable[[str], PrivacyPlan | None]
"""The plan of a site with a band of patients."""


def privacy_plan(config: RunConfig, patients_band: str) -> PrivacyPlan | None:
    """The plan of a config at a site; None where `privacy.epsilon` is null.

    Where `privacy.delta` is null, delta is a tenth of one over the upper end of the band: below one over the number
    of patients, as delta must be, whatever their number.

    Where sites share noise and the config names no cohort yet, the plan is that of a site without peers.

    Raises:
        ConfigError: No noise reaches the epsilon, or the loss couples records, so that no noise could.
    """
    if config.privacy.epsilon is None:
        return None
    coupling, delta = private_coupling(config), delta_of(config, patients_band)
    noise, law = _noise(config, patients_band, coupling), pair_law(config)
    whole = _training(config, patients_band, coupling)
    own = own_multiplier(noise, law)
    return PrivacyPlan(
        event=replace(whole.event(noise), steps=config.training.steps_per_round),
        delta=delta,
        clip_norm=config.privacy.clip_norm,
        expected_patients=expected_patients(config, _normal_patients(config, patients_band)),
        learning_rate=config.privacy.learning_rate / max(own, 1.0),
        public_weight=config.privacy.public_weight * own,
        pair_law=law,
    )


def expected_patients(config: RunConfig, patients: float) -> float:
    """What a step's sum is divided by: the patients that it reads on average of so many, as public figures say."""
    return config.training.sampling_probability * mean_emphasis(config) * patients


def pair_law(config: RunConfig) -> PairLaw | None:
    """How the sites of a run share noise; None where each has its own."""
    if config.privacy.noise != SHARED or config.privacy.epsilon is None or not config.privacy.cohort:
        return None
    return PairLaw(
        peers=num_peers(len(config.privacy.cohort)),
        colluding=config.privacy.most_colluding,
        factor=config.privacy.pair_factor,
    )


def own_multiplier(guaranteed: float, law: PairLaw | None) -> float:
    """The multiplier of a site's own noise, of all its noise's."""
    return guaranteed if law is None else law.own(guaranteed)


def with_cohort(config: RunConfig, bands: Mapping[str, str]) -> RunConfig:
    """The config of a run of these sites; as it is where they do not share noise.

    Args:
        config: The run's configuration.
        bands: Band of each site's patients, by name.
    """
    if config.privacy.noise != SHARED or config.privacy.epsilon is None:
        return config
    return replace(config, privacy=replace(config.privacy, cohort=dict(sorted(bands.items()))))


def check_shared_noise(config: RunConfig, patients_band: str) -> None:
    """Return where the noise that a run's sites share is enough for a site of a band.

    Raises:
        ConfigError: The band needs more than any that the run's cohort names.
    """
    if pair_law(config) is None:
        return
    coupling = private_coupling(config)
    needed, shared = _needed(config, patients_band, coupling), _noise(config, patients_band, coupling)
    if needed > shared:
        raise ConfigError(
            f"privacy.cohort: no site of it is of the band {patients_band}, which needs a noise multiplier of "
            f"{needed:.3f} where the cohort shares {shared:.3f}; correct the site's band there"
        )


def _noise(config: RunConfig, patients_band: str, coupling: Coupling) -> float:
    """The noise multiplier of a site of a band, or of all sites that share noise, whatever a site says of its band."""
    bands = {patients_band} if pair_law(config) is None else set(config.privacy.cohort.values())
    return max(_needed(config, band, coupling) for band in bands)


def _needed(config: RunConfig, patients_band: str, coupling: Coupling) -> float:
    """The least noise multiplier that keeps a site of a band within epsilon."""
    if config.privacy.epsilon is None:
        raise ConfigError("privacy.epsilon: null needs no noise")
    return _least_noise(
        _training(config, patients_band, coupling),
        epsilon=config.privacy.epsilon,
        delta=delta_of(config, patients_band),
    )


def _training(config: RunConfig, patients_band: str, coupling: Coupling) -> _Training:
    return _Training(
        sampling_probability=config.training.sampling_probability,
        steps=config.training.steps_per_round * config.federation.rounds,
        most_patients=most_of(patients_band) if coupling is Coupling.PAIRS else None,
        overflow=delta_of(config, patients_band),
    )


def delta_of(config: RunConfig, patients_band: str) -> float:
    """Delta at which a run states what it costs a site of a band."""
    return config.privacy.delta if config.privacy.delta is not None else delta_for(patients_band)


def _normal_patients(config: RunConfig, patients_band: str) -> float:
    """Patients that a site's sum is divided by: its own band's middle, or the mean over sites that share noise."""
    if pair_law(config) is None:
        return middle_of(patients_band)
    return fmean(map(middle_of, config.privacy.cohort.values()))


def private_coupling(config: RunConfig) -> Coupling:
    """How far the run's loss couples records; no further than a private engine can clip.

    Raises:
        ConfigError: It couples the whole batch, the loss is unknown, or it is clipped pair by pair and the config asks
            for what only the clip by patient offers.
    """
    objective = build_objective(config.loss, config.code)
    refuse_coupled(objective, allowed=Coupling.PAIRS)
    if objective.coupling is Coupling.PAIRS:
        refuse_terms_of_anchors(objective)
        _refuse_other_clips(config)
    return objective.coupling


def _refuse_other_clips(config: RunConfig) -> None:
    asked = {
        "training.gradients": (config.training.gradients, "auto"),
        "training.precision": (config.training.precision, "float32"),
        "training.augmentations": (config.training.augmentations, 1),
        "training.adversarial.steps": (config.training.adversarial.steps, 0),
        "privacy.clipping": (config.privacy.clipping, "flat"),
        "privacy.noise": (config.privacy.noise, "own"),
        "mitigation.adversary_weight": (config.mitigation.adversary_weight, 0.0),
    }
    if config.mitigation.emphasis:
        asked["mitigation.emphasis_by"] = (config.mitigation.emphasis_by, SAMPLING)
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
