"""Entries of a site's ledger: what they say, their bytes, and the signature that makes each one a head.

An entry is canonical JSON. It holds the digest of the entry before it, so the digest of the last one, the head, stands
for the whole ledger; the site signs every head. Only what is needed to add up epsilon is written: no patient, no
number of patients, no result.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from dataclasses import fields as dataclass_fields
from typing import Any, TypeAlias

from common.canonical import canonical_json
from common.errors import ConfigError, LedgerError, TrustError
from common.files import sha256_hex
from common.pair_noise.law import PairLaw
from common.privacy.events import DiscreteLaplace, Event, event_as_json, event_from_json
from common.trust.keys import PublicKey, SigningKey

FORMAT = 1
"""Version of what is described here; a ledger of another one is refused."""

BEFORE_THE_FIRST = "0" * 64
"""What stands in the first entry for the digest of the one before."""

TRAINING, HELD_OUT = "train", "held_out"
"""Names of the cohorts of a data set: the patients that a model trains on, and those it is measured on."""

_PURPOSE = "ledger head"


@dataclass(frozen=True, kw_only=True)
class Account:
    """Whose privacy is spent: the patients of one cohort of one data set, over all jobs and runs.

    A patient is in one cohort of a data set, so the cohorts' spends need not be added up.

    Attributes:
        dataset_digest: Digest of the studies.
        cohort: Which of their patients: `TRAINING` or `HELD_OUT`.
    """

    dataset_digest: str
    cohort: str

    @property
    def name(self) -> str:
        """The account in words."""
        return f"{self.cohort} patients of data set {self.dataset_digest[:12]}"


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a hospital lets be spent of each account.

    Attributes:
        epsilon: Cap over all runs; None sets none.
        delta: Delta at which epsilon is stated.
        epsilon_per_run: Cap for any one run; None sets none.
        epsilon_alone: Cap over all runs on what the patients would have spent if everybody that the hospital shared
            noise with told the server what they know; None sets none.

    Raises:
        ConfigError: A cap is negative or no number, or delta is not between 0 and 1.
    """

    epsilon: float | None
    delta: float
    epsilon_per_run: float | None = None
    epsilon_alone: float | None = None

    def __post_init__(self) -> None:
        for name in ("epsilon", "epsilon_per_run", "epsilon_alone"):
            cap = getattr(self, name)
            if cap is not None and not 0 <= cap < math.inf:
                raise ConfigError(f"budget.{name}={cap}: out of range; it takes 0 or more, or null for no cap")
        if not 0 < self.delta < 1:
            raise ConfigError(f"budget.delta={self.delta}: out of range; it takes more than 0 and less than 1")


@dataclass(frozen=True, kw_only=True)
class Opened:
    """First entry: whose ledger this is.

    Attributes:
        site: The site's name.
        public_key: Key that checks every signature, in hexadecimal.
        format: `FORMAT`.
    """

    site: str
    public_key: str
    format: int = FORMAT


@dataclass(frozen=True, kw_only=True)
class BudgetStated:
    """The budget from here on, until the next such entry.

    Attributes:
        budget: The budget.
    """

    budget: Budget


@dataclass(frozen=True, kw_only=True)
class SharedNoise:
    """How the noise of a release is made where part of it is shared with other sites (`common/pair_noise/law.py`).

    Attributes:
        own_multiplier: Of one draw of the site's own, over the sensitivity.
        factor: Size of a shared part over an own draw.
        peers: Sites that it is shared with.
        absent: Sites that it was planned to be shared with, each replaced by one more draw of the own.
        colluding: Members that may tell the server what they know, with the event still true.
        cohort: Digest of the names and keys of all members.
        context: Digest of what opened the round, with the release where it has several: with it the same noise would be
            drawn again.

    Raises:
        ValueError: A number cannot be.
    """

    own_multiplier: float
    factor: int
    peers: int
    absent: int
    colluding: int
    cohort: str
    context: str

    def __post_init__(self) -> None:
        if not 0 <= self.own_multiplier < math.inf or min(self.factor, self.peers, self.absent, self.colluding) < 0:
            raise ValueError("shared noise of numbers that cannot be")

    @property
    def guaranteed(self) -> float:
        """Noise multiplier against the server and `colluding` members together."""
        return self._law.guaranteed(self.own_multiplier)

    @property
    def alone(self) -> float:
        """Noise multiplier against everybody else together."""
        return self._law.alone(self.own_multiplier, absent=self.absent)

    @property
    def _law(self) -> PairLaw:
        return PairLaw(peers=self.peers + self.absent, colluding=self.colluding, factor=self.factor)


@dataclass(frozen=True, kw_only=True)
class Reserved:
    """Spent, whether or not a release follows.

    Attributes:
        account: Whose privacy.
        run: Digest of the run's configuration.
        round_number: The round.
        release: Name of what is to be released.
        event: What it costs.
        shared: How its noise is made; None where all of it is the site's own.
    """

    account: Account
    run: str
    round_number: int
    release: str
    event: Event
    shared: SharedNoise | None = None

    @property
    def event_alone(self) -> Event:
        """What it costs if everybody that noise is shared with told the server what they know."""
        if self.shared is None or isinstance(self.event, DiscreteLaplace):
            return self.event
        return replace(self.event, noise_multiplier=min(self.shared.alone, self.event.noise_multiplier))


@dataclass(frozen=True, kw_only=True)
class Recovered(Reserved):
    """Spent by an entry that was lost with an older ledger, and charged again from what the site's audit log proves.

    Its event is at least what the lost entry reserved; a Gaussian without noise where that is not known any more, which
    spends all that there is.

    Attributes:
        lost: Digest of the lost entry, as the audit log noted it beside the release.
    """

    lost: str


@dataclass(frozen=True, kw_only=True)
class Settled:
    """What was reserved has left, once.

    Attributes:
        reservation: Digest of the entry that reserved it.
    """

    reservation: str


Body: TypeAlias = Opened | BudgetStated | Reserved | Recovered | Settled

_KINDS: dict[str, type[Body]] = {
    "opened": Opened,
    "budget": BudgetStated,
    "reserved": Reserved,
    "recovered": Recovered,
    "settled": Settled,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the ledger.

    Attributes:
        sequence: 1 for the first, and so on.
        time: When it was written, UTC, ISO 8601. For the reader: nothing depends on a clock.
        previous: Digest of the entry before, or `BEFORE_THE_FIRST`.
        body: What it says.
    """

    sequence: int
    time: str
    previous: str
    body: Body

    def as_bytes(self) -> bytes:
        """Canonical JSON; the digest is SHA-256 of it."""
        said = asdict(self.body)
        if isinstance(self.body, Reserved):
            said["event"] = event_as_json(self.body.event)
            _leave_out(said, "shared")
        if isinstance(self.body, BudgetStated):
            _leave_out(said["budget"], "epsilon_alone")
        shared = {"sequence": self.sequence, "time": self.time, "previous": self.previous}
        return canonical_json({**shared, "kind": _NAMES[type(self.body)], **said})


@dataclass(frozen=True, kw_only=True)
class StoredEntry:
    """An entry as it lies in the file: nothing of it is trusted yet.

    Attributes:
        record: The entry's bytes.
        digest: SHA-256 of them, in hexadecimal.
        signature: The site's, of the digest.
    """

    record: bytes
    digest: str
    signature: bytes


def sign_entry(entry: Entry, key: SigningKey) -> StoredEntry:
    """The entry as it is stored.

    Raises:
        LedgerError: It holds what could not be read back.
    """
    try:
        record = entry.as_bytes()
    except (ValueError, TypeError) as error:
        raise LedgerError("an entry holds what cannot be written") from error
    entry_from_bytes(record)
    digest = sha256_hex(record)
    return StoredEntry(record=record, digest=digest, signature=key.sign(digest.encode(), purpose=_PURPOSE))


def check_signature(digest: str, signature: bytes, key: PublicKey) -> None:
    """Return where `signature` is the site's of a head with this digest.

    Raises:
        LedgerError: It is not.
    """
    try:
        key.verify(signature, digest.encode(), purpose=_PURPOSE)
    except TrustError as error:
        raise LedgerError("the signature is not that of the ledger's key") from error


def entry_from_bytes(record: bytes) -> Entry:
    """The entry that `as_bytes` wrote.

    Raises:
        LedgerError: The bytes are no entry, or not the one way in which it is written.
    """
    try:
        value = json.loads(record)
        shared = {name: value.pop(name) for name in ("sequence", "time", "previous")}
        entry = Entry(body=_body_from_json(_KINDS[value.pop("kind")], value), **shared)
        same = entry.as_bytes() == record
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ConfigError) as error:
        raise LedgerError("cannot be read as an entry; it is damaged or newer") from error
    parts = (entry, entry.body, *(getattr(entry.body, name, None) for name in ("account", "shared")))
    if not same or not all(map(_well_typed, parts)):
        raise LedgerError("is not written in canonical form; it is damaged or newer")
    return entry


def _body_from_json(kind: type[Body], value: Mapping[str, Any]) -> Body:
    fields = dict(value)
    if kind is BudgetStated:
        fields["budget"] = Budget(**fields["budget"])
    if issubclass(kind, Reserved):
        fields |= {"account": Account(**fields["account"]), "event": event_from_json(fields["event"])}
        if "shared" in fields:
            fields["shared"] = SharedNoise(**fields["shared"])
    return kind(**fields)


def _leave_out(said: dict[str, Any], name: str) -> None:
    """Say nothing of what is not there: so are entries written that were before there was such a thing."""
    if said[name] is None:
        del said[name]


def _well_typed(part: Any) -> bool:  # noqa: ANN401 - a dataclass, or None
    """Whether texts are texts and numbers numbers: a signed entry may still come from a hostile site."""
    types = {"str": str, "int": int, "float": float}
    return part is None or all(
        type(getattr(part, field.name)) is types[field.type] for field in dataclass_fields(part) if field.type in types
    )
