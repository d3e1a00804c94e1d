"""Rules on what leaves: which records, made how, accounted where, how large, and how few patients behind a count."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

from client.policy.interface import Refusal, ReleaseRequest
from client.policy.site_schema import ANY
from common.privacy.release import Mechanism

if TYPE_CHECKING:
    from common.wire.update import ArrayPlan

COUNTS = frozenset({Mechanism.DISCRETE_LAPLACE, Mechanism.DISCRETE_GAUSSIAN, Mechanism.NOT_PRIVATE})
"""Mechanisms whose releases show counts of patients."""

Allowed = Mapping[str, AbstractSet[Mechanism]]
"""Record of a reply to the mechanisms that may have made it; the record `any` stands for every other."""


@dataclass(frozen=True)
class AllowedMechanisms:
    """Each record of the reply is known, and was made by a mechanism that the hospital allows for it.

    Attributes:
        allowed: What may have made which record.
    """

    allowed: Allowed
    name: ClassVar[str] = "mechanisms"

    def looks_at(self, request: ReleaseRequest) -> str:
        """See `PolicyRule`."""
        return ", ".join(f"{release.name} by {release.mechanism}" for release in request.releases) or "nothing"

    def check(self, request: ReleaseRequest) -> Refusal | None:
        """See `PolicyRule`."""
        refusals = (refuse_record(release.name, release.mechanism, self.allowed) for release in request.releases)
        return next((refusal for refusal in refusals if refusal is not None), None)


@dataclass(frozen=True)
class AccountedReleases:
    """Each release of a mechanism that costs privacy names its event, and the ledger entry that reserved it."""

    name: ClassVar[str] = "ledger entries"

    def looks_at(self, request: ReleaseRequest) -> str:
        """See `PolicyRule`."""
        return f"{sum(release.mechanism.costs_privacy for release in request.releases)} releases with a cost"

    def check(self, request: ReleaseRequest) -> Refusal | None:
        """See `PolicyRule`."""
        for release in request.releases:
            if release.mechanism.costs_privacy and (release.event is None or release.ledger_entry is None):
                return Refusal(
                    reason=f"record {release.name!r} names no privacy event or no ledger entry",
                    remedy="reserve it in the ledger before the noise is drawn",
                )
        return None


class HasArrays(Protocol):
    """A request about an update's arrays."""

    @property
    def arrays(self) -> ArrayPlan | None:
        """Names, shapes and types; None where there is no update or it is not known yet."""
        ...


@dataclass(frozen=True)
class LargestUpdate:
    """The update has only known arrays, and not more than so many values and bytes.

    It stands on both sides of the work: before it, a run too large is refused; after it, what was really made is.

    Attributes:
        most_values: Numbers in all arrays.
        most_bytes: Bytes of all arrays.
        keys: Shell patterns of names, or `any`.
    """

    most_values: int
    most_bytes: int
    keys: Sequence[str]
    name: ClassVar[str] = "largest update"

    def looks_at(self, request: HasArrays) -> str:
        """See `PolicyRule`."""
        if request.arrays is None:
            return "no arrays"
        return (
            f"{len(request.arrays.arrays)} arrays, {request.arrays.num_values:,} values, "
            f"{_num_bytes(request.arrays):,} bytes"
        )

    def check(self, request: HasArrays) -> Refusal | None:
        """See `PolicyRule`."""
        if request.arrays is None:
            return None
        if list(self.keys) != [ANY]:
            for name in request.arrays.arrays:
                if not any(fnmatchcase(name, pattern) for pattern in self.keys):
                    return Refusal(reason=f"array {name!r} fits no pattern", remedy="add one to update.keys")
        for figure, most, unit in (
            (request.arrays.num_values, self.most_values, "values"),
            (_num_bytes(request.arrays), self.most_bytes, "bytes"),
        ):
            if figure > most:
                return Refusal(reason=f"{figure:,} {unit} are above {most:,}", remedy=f"raise update.most_{unit}")
        return None


@dataclass(frozen=True)
class LeastCell:
    """A count that is shown stands for at least so many patients.

    A reply that shows counts and does not say how few patients are behind them is refused.

    Attributes:
        least: Number of patients.
    """

    least: int
    name: ClassVar[str] = "least cell"

    def looks_at(self, request: ReleaseRequest) -> str:
        """See `PolicyRule`."""
        if request.least_cell is None:
            return "not stated" if _shows_counts(request) else "no counts"
        return f"{request.least_cell} patients, least {self.least}"

    def check(self, request: ReleaseRequest) -> Refusal | None:
        """See `PolicyRule`."""
        if request.least_cell is None:
            if not _shows_counts(request):
                return None
            return Refusal(reason="counts are shown whose least cell is not stated", remedy="state it with the release")
        if request.least_cell < self.least:
            return Refusal(
                reason=f"a count of {request.least_cell} patients is below {self.least}",
                remedy="raise the run's evaluation.least_group, or lower releases.least_cell",
            )
        return None


def refuse_record(name: str, mechanism: Mechanism, allowed: Allowed) -> Refusal | None:
    """Why a record that a mechanism made may not leave; None where it may."""
    mechanisms = allowed.get(name, allowed.get(ANY))
    if mechanisms is None:
        return Refusal(
            reason=f"record {name!r} is not one that may leave",
            remedy="add it to releases.allowed with its mechanism",
        )
    if mechanism not in mechanisms:
        return Refusal(
            reason=f"record {name!r} is made by {mechanism}, which may not make it",
            remedy=f"change the run, or add the mechanism to releases.allowed.{name}",
        )
    return None


def _shows_counts(request: ReleaseRequest) -> bool:
    return any(release.mechanism in COUNTS for release in request.releases)


def _num_bytes(plan: ArrayPlan) -> int:
    return sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in plan.arrays.values())
