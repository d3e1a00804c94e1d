"""Rules on a run's privacy: noise, epsilon, and what its replies may hold.

Unit of privacy: the patient. Neighbouring relation: add or remove one patient. These rules look at what a run plans;
that it is kept is for the DP engine, the ledger and the gate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from client.policy.interface import Refusal, RunRequest
from client.policy.release_rules import Allowed, refuse_record
from common.pair_noise.peers import num_peers
from common.privacy.events import DiscreteLaplace
from common.privacy.held_out import group_noise_of, noise_of
from common.privacy.release import Mechanism

if TYPE_CHECKING:
    from common.config.schema import RunConfig
    from common.privacy.forecast import Forecast

UPDATE, STATISTICS, GROUPS = "update", "statistics", "groups"
"""Records of a reply, as in `common/wire/flower.py`, which would bring Flower."""


@dataclass(frozen=True)
class PrivateTrainingOnly:
    """Training costs a stated privacy event.

    Guarantee: a run that passes is accounted; how much it may spend is for `EpsilonOfRun` and the ledger.
    """

    name: ClassVar[str] = "private training"

    def looks_at(self, request: RunRequest) -> str:
        """See `PolicyRule`."""
        epsilon = request.config.privacy.epsilon
        return "no privacy" if epsilon is None else f"asks for epsilon {epsilon:g}"

    def check(self, request: RunRequest) -> Refusal | None:
        """See `PolicyRule`."""
        if request.config.privacy.epsilon is None or not request.events:
            return Refusal(reason="trains without privacy", remedy="set privacy.epsilon in the run's config")
        return None


@dataclass(frozen=True)
class LeastNoise:
    """Every round of training adds at least so much Gaussian noise.

    Attributes:
        least: Noise multiplier: standard deviation over the bound on one patient's gradient.
    """

    least: float
    name: ClassVar[str] = "least noise"

    def looks_at(self, request: RunRequest) -> str:
        """See `PolicyRule`."""
        return f"noise multiplier {self._noise(request):.3g}, least {self.least:g}"

    def check(self, request: RunRequest) -> Refusal | None:
        """See `PolicyRule`."""
        noise = self._noise(request)
        if noise >= self.least:
            return None
        return Refusal(
            reason=f"noise multiplier {noise:.3g} is below {self.least:g}",
            remedy="lower the run's privacy.epsilon, or training.least_noise_multiplier",
        )

    def _noise(self, request: RunRequest) -> float:
        """The least of the round's Gaussian releases; 0 where there is none."""
        gaussian = [event for event in request.events if not isinstance(event, DiscreteLaplace)]
        return min((event.noise_multiplier for event in gaussian), default=0.0)


@dataclass(frozen=True)
class EpsilonOfRun:
    """The whole run, all its rounds composed, spends at most so much.

    Unit of privacy: the patient. Neighbouring relation: add or remove one patient.

    Attributes:
        most: Epsilon.
        delta: At which it is stated.
    """

    most: float
    delta: float
    name: ClassVar[str] = "epsilon of one run"

    def looks_at(self, request: RunRequest) -> str:
        """See `PolicyRule`."""
        return f"epsilon {self._epsilon(request):.3g} at delta {self.delta:.1e}, most {self.most:g}"

    def check(self, request: RunRequest) -> Refusal | None:
        """See `PolicyRule`."""
        epsilon = self._epsilon(request)
        if epsilon <= self.most:
            return None
        return Refusal(
            reason=f"spends epsilon {epsilon:.3g} at delta {self.delta:.1e}, above {self.most:g}",
            remedy="lower the run's privacy.epsilon, or raise budget.epsilon_per_run",
        )

    def _epsilon(self, request: RunRequest) -> float:
        from common.privacy.accountant import epsilon_of  # imports SciPy, which the other rules do without

        return epsilon_of(list(request.events) * request.rounds, delta=self.delta) if request.rounds else 0.0


@dataclass(frozen=True)
class LeastPeers:
    """A run that has hospitals share noise plans to share it with at least so many; each round is looked at anew.

    Attributes:
        least: Number of hospitals.
    """

    least: int
    name: ClassVar[str] = "shared noise"

    def looks_at(self, request: RunRequest) -> str:
        """See `PolicyRule`."""
        planned = self._planned(request)
        return "all noise is the hospital's own" if planned is None else f"shared with {planned}, least {self.least}"

    def check(self, request: RunRequest) -> Refusal | None:
        """See `PolicyRule`."""
        planned = self._planned(request)
        if planned is None or planned >= self.least:
            return None
        return Refusal(
            reason=f"shares noise with {planned} hospitals, below {self.least}",
            remedy="have more hospitals take part, set the run's privacy.noise=own, or lower privacy.least_peers",
        )

    def _planned(self, request: RunRequest) -> int | None:
        privacy = request.config.privacy
        return num_peers(len(privacy.cohort)) if privacy.noise == "shared" else None


@dataclass(frozen=True)
class NotHopeless:
    """Noise does not drown what the patients teach: where it does, they pay for nothing.

    Guarantee: what is foretold follows from public quantities and costs no epsilon.
    """

    name: ClassVar[str] = "forecast"

    def looks_at(self, request: RunRequest) -> str:
        """See `PolicyRule`."""
        found = self._forecast(request)
        return "nothing is noised" if found is None else found.claim

    def check(self, request: RunRequest) -> Refusal | None:
        """See `PolicyRule`."""
        found = self._forecast(request)
        if found is None or not found.is_hopeless:
            return None
        return Refusal(reason=found.claim, remedy=f"{found.remedy}; or set training.refuse_hopeless=false")

    def _forecast(self, request: RunRequest) -> Forecast | None:
        from common.privacy.forecast import forecast_known  # imports torch, which the other rules do without

        return forecast_known(request.config, own=request.patients_band, cohort=request.cohort)


@dataclass(frozen=True)
class PlannedReleases:
    """What the run's replies will hold may leave.

    `AllowedMechanisms` asks again of each reply; by then the ledger has been charged for it.

    Attributes:
        allowed: What may have made which record.
    """

    allowed: Allowed
    name: ClassVar[str] = "planned releases"

    def looks_at(self, request: RunRequest) -> str:
        """See `PolicyRule`."""
        return ", ".join(f"{name} by {mechanism}" for name, mechanism in _planned(request.config).items())

    def check(self, request: RunRequest) -> Refusal | None:
        """See `PolicyRule`."""
        refusals = (refuse_record(name, made_by, self.allowed) for name, made_by in _planned(request.config).items())
        return next((refusal for refusal in refusals if refusal is not None), None)


@dataclass(frozen=True)
class LeastGroup:
    """The run suppresses groups of fewer patients than the hospital shows counts of.

    `LeastCell` asks again of each reply.

    Attributes:
        least: Number of patients.
    """

    least: int
    name: ClassVar[str] = "least group"

    def looks_at(self, request: RunRequest) -> str:
        """See `PolicyRule`."""
        return f"groups of {request.config.evaluation.least_group} patients and more, least {self.least}"

    def check(self, request: RunRequest) -> Refusal | None:
        """See `PolicyRule`."""
        shown = request.config.evaluation.least_group
        if shown >= self.least:
            return None
        return Refusal(
            reason=f"groups of {shown} patients would be shown, below {self.least}",
            remedy="raise the run's evaluation.least_group, or lower releases.least_cell",
        )


def _planned(config: RunConfig) -> dict[str, Mechanism]:
    """The records of a reply that say something of patients, and what will make them."""
    counts, groups = noise_of(config), group_noise_of(config)
    return {
        UPDATE: Mechanism.NOT_PRIVATE if config.privacy.epsilon is None else Mechanism.PATIENT_DP_SGD,
        STATISTICS: Mechanism.NOT_PRIVATE if counts is None else counts.mechanism,
        **({} if groups is None else {GROUPS: groups.mechanism}),
    }
