"""A site in memory: what one hospital holds for one run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from client.dp.randomness import Randomness
from client.dp.records import PrivateStudies
from client.dp.round_noise import Pairing
from client.ledger.ledger import Ledger
from client.policy.interface import RunRequest
from common.config.schema import RunConfig
from common.encoders.dual import DualEncoder, trainable_names
from common.encoders.public_fit import AnchorFeatures
from common.encoders.rows import Rows
from common.ledger.entries import Account
from common.privacy.bands import band_of
from common.privacy.plan import PrivacyPlan
from common.types import StudyRecord
from common.wire.update import ArrayPlan, NamedArrays


@dataclass(frozen=True)
class HeldOut:
    """Studies of patients that training never sees.

    Attributes:
        images: Image features `[N, ...]`.
        reports: Report features `[N, ...]`.
        records: Their records.
    """

    images: Rows
    reports: Rows
    records: tuple[StudyRecord, ...]

    def to(self, device: str) -> HeldOut:
        """The same studies with their features on a device."""
        return HeldOut(self.images.to(device), self.reports.to(device), self.records)


@dataclass(frozen=True, kw_only=True)
class SiteAccounts:
    """The accounts that pay for what a site releases.

    Attributes:
        ledger: The site's ledger.
        training: Account of the training patients.
        held_out: Account of the held-out patients; a patient is one or the other.
    """

    ledger: Ledger
    training: Account
    held_out: Account


@dataclass(frozen=True, kw_only=True)
class Site:
    """One hospital in one run.

    Attributes:
        name: Its name in the consortium.
        config: The run's configuration.
        config_digest: Its digest; a task with another is refused.
        model: A model that this site may overwrite; sites that run one after another may share it.
        start: The model before round one, as arrays: what the last one is held against.
        private: Studies of its training patients.
        held_out: Studies of its held-out patients.
        anchors: The public anchors.
        public_pairs: Public studies that say what a score means: such as no training saw, where the run keeps some.
        privacy: What a round costs; None without privacy.
        accounts: What pays for it; None without privacy.
        randomness: Source of sampling and noise for a round.
        pairing: With whom it shares noise; None where all of it is its own.
    """

    name: str
    config: RunConfig
    config_digest: str
    model: DualEncoder
    start: NamedArrays
    private: PrivateStudies
    held_out: HeldOut
    anchors: AnchorFeatures
    public_pairs: AnchorFeatures
    privacy: PrivacyPlan | None
    accounts: SiteAccounts | None
    randomness: Callable[[int], Randomness]
    pairing: Pairing | None = None

    @property
    def patients_band(self) -> str:
        """Band of the number of training patients: all that the server learns of it."""
        return band_of(self.private.num_patients)

    @property
    def arrays(self) -> ArrayPlan:
        """What an update of this site holds."""
        return ArrayPlan.of(
            {name: self.model.get_parameter(name).detach().cpu().numpy() for name in trainable_names(self.model)}
        )

    def request(self, *, bundle_hash: str | None) -> Callable[[], RunRequest]:
        """What the site's policy is asked about the run, now and in each round.

        Args:
            bundle_hash: SHA-256 of the bundle that the run came in; None where there is none.
        """
        arrays = self.arrays

        def now() -> RunRequest:
            return RunRequest(
                config=self.config,
                config_digest=self.config_digest,
                bundle_hash=bundle_hash,
                events=(self.privacy.event,) if self.privacy else (),
                rounds=self.config.federation.rounds,
                patients_band=self.patients_band,
                cohort=None,
                arrays=arrays,
                device=self.config.device,
                local_time=datetime.now().astimezone().time(),
            )

        return now
