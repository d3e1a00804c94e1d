"""Rules on what a run is made of: configuration, bundle, loss, encoder, device and hours.

A list that is empty allows nothing; the one word `any` allows everything of its kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import time
from fnmatch import fnmatchcase
from typing import ClassVar, Protocol

from client.policy.hours import Hours
from client.policy.interface import Refusal, RunRequest
from client.policy.site_schema import ANY
from common.losses.composition import contrast_of

DIGEST_LENGTH, SHORT = 64, 12
"""Digits of a SHA-256, and as many of them as a person compares."""


@dataclass(frozen=True)
class AllowedLoss:
    """The contrastive loss is one that the hospital named; whatever terms stand beside it read one record each.

    Attributes:
        names: Names, or `any`.
    """

    names: Sequence[str]
    name: ClassVar[str] = "loss"

    def looks_at(self, request: RunRequest) -> str:
        """See `PolicyRule`."""
        return request.config.loss.name

    def check(self, request: RunRequest) -> Refusal | None:
        """See `PolicyRule`."""
        return _unless_listed(contrast_of(request.config.loss), self.names, what="loss", key="training.losses")


@dataclass(frozen=True)
class AllowedEncoder:
    """The encoder is one that the hospital named.

    Attributes:
        names: Names, or `any`.
    """

    names: Sequence[str]
    name: ClassVar[str] = "encoder"

    def looks_at(self, request: RunRequest) -> str:
        """See `PolicyRule`."""
        return request.config.encoder.name

    def check(self, request: RunRequest) -> Refusal | None:
        """See `PolicyRule`."""
        return _unless_listed(request.config.encoder.name, self.names, what="encoder", key="training.encoders")


@dataclass(frozen=True)
class AllowedConfig:
    """The configuration, digit by digit, is one that the hospital approved.

    Attributes:
        digests: SHA-256 of configurations, or `any`.
    """

    digests: Sequence[str]
    name: ClassVar[str] = "configuration"

    def looks_at(self, request: RunRequest) -> str:
        """See `PolicyRule`."""
        return f"digest {_short(request.config_digest)}"

    def check(self, request: RunRequest) -> Refusal | None:
        """See `PolicyRule`."""
        return _unless_listed(request.config_digest, self.digests, what="configuration", key="training.config_digests")


@dataclass(frozen=True)
class AllowedBundle:
    """No code comes from outside, or it is a bundle that the hospital approved.

    Attributes:
        hashes: SHA-256 of bundles, or `any`.
    """

    hashes: Sequence[str]
    name: ClassVar[str] = "bundle"

    def looks_at(self, request: RunRequest) -> str:
        """See `PolicyRule`."""
        return "none: installed code" if request.bundle_hash is None else f"hash {_short(request.bundle_hash)}"

    def check(self, request: RunRequest) -> Refusal | None:
        """See `PolicyRule`."""
        if request.bundle_hash is None:
            return None
        return _unless_listed(request.bundle_hash, self.hashes, what="bundle", key="training.bundle_hashes")


@dataclass(frozen=True)
class AllowedDevice:
    """The run asks for a device that the hospital lends.

    Attributes:
        patterns: Shell patterns of torch devices, such as "cuda*".
    """

    patterns: Sequence[str]
    name: ClassVar[str] = "device"

    def looks_at(self, request: RunRequest) -> str:
        """See `PolicyRule`."""
        return request.device

    def check(self, request: RunRequest) -> Refusal | None:
        """See `PolicyRule`."""
        if list(self.patterns) == [ANY] or any(fnmatchcase(request.device, pattern) for pattern in self.patterns):
            return None
        return Refusal(
            reason=f"device {request.device} fits none of {_listed(self.patterns)}",
            remedy="change the run's device, or add it to training.devices",
        )


class HasLocalTime(Protocol):
    """A request that comes at some time of the hospital's day."""

    @property
    def local_time(self) -> time:
        """The hospital's time of day."""
        ...


@dataclass(frozen=True)
class AllowedHours:
    """A round starts, or a question comes, in the hours that the hospital lends its machines for.

    Attributes:
        hours: The daily window; None is always.
        key: Of `site.yaml`, where the window stands.
    """

    hours: Hours | None
    key: str
    name: ClassVar[str] = "hours"

    def looks_at(self, request: HasLocalTime) -> str:
        """See `PolicyRule`."""
        return f"{request.local_time:%H:%M}, allowed {self.hours or 'always'}"

    def check(self, request: HasLocalTime) -> Refusal | None:
        """See `PolicyRule`."""
        if self.hours is None or request.local_time in self.hours:
            return None
        return Refusal(
            reason=f"{request.local_time:%H:%M} local time is outside {self.hours}",
            remedy=f"come back later, or widen {self.key}",
        )


def _unless_listed(value: str, allowed: Sequence[str], *, what: str, key: str) -> Refusal | None:
    if value in allowed or list(allowed) == [ANY]:
        return None
    return Refusal(
        reason=f"{what} {_short(value)} is not one of {_listed(allowed)}",
        remedy=f"add it to {key} once it is approved",
    )


def _listed(allowed: Sequence[str]) -> str:
    return f"[{', '.join(map(_short, allowed))}]"


def _short(entry: str) -> str:
    """A name whole, and of a digest as much as a person compares."""
    return f"{entry[:SHORT]}..." if len(entry) == DIGEST_LENGTH else entry
