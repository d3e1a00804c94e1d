"""What a policy is asked, and how it answers.

A policy is asked before any work is done for a run or a question, and before anything leaves. Each rule is one small
class that looks at one thing and passes or refuses. A policy without a rule for a thing does not limit it, so the two
policies that exist are built in one place each: `client/policy/site_policy.py`, `client/policy/simulated.py`.
A refusal's text is the hospital's own: it goes to its screen and its log, and only the code `policy` leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import time
from typing import TYPE_CHECKING, Protocol, TypeVar

from common.errors import PolicyRefusal
from common.privacy.events import Event
from common.privacy.release import Release

if TYPE_CHECKING:  # both bring torch or OmegaConf, which a policy has no use for
    from common.config.schema import RunConfig
    from common.wire.update import ArrayPlan


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """What a run asks of a site, before any work is done for it.

    Attributes:
        config: The run's configuration.
        config_digest: Its digest.
        bundle_hash: SHA-256 of the bundle that the server sent; None where the site's own installed code runs.
        events: Privacy events of one round of training; none where the run is not private.
        rounds: Rounds of the run.
        patients_band: Public band of the site's training patients.
        cohort: Bands of all sites, where the hospital was told them.
        arrays: Arrays that it will train; None where they are not known before the model is built.
        device: Torch device it would run on.
        local_time: The hospital's time of day.
    """

    config: RunConfig
    config_digest: str
    bundle_hash: str | None
    events: tuple[Event, ...]
    rounds: int
    patients_band: str
    cohort: tuple[str, ...] | None
    arrays: ArrayPlan | None
    device: str
    local_time: time


@dataclass(frozen=True, kw_only=True)
class ReleaseRequest:
    """What is about to leave a site.

    Attributes:
        releases: Every record of the reply.
        arrays: Names, shapes and types of the update's arrays; None where the reply holds no update.
        least_cell: Fewest patients behind any count that the reply shows; None where it shows none.
    """

    releases: tuple[Release, ...]
    arrays: ArrayPlan | None
    least_cell: int | None


@dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """What another hospital asks of this one's index.

    Attributes:
        asker: The hospital that asks.
        asked_this_hour: Its questions in the last hour, without this one.
        nearby_today: Its questions of the last day whose codes lie near this one's, without this one.
        told_today: Different studies that it was told of in the last day.
        local_time: The hospital's time of day.
    """

    asker: str
    asked_this_hour: int
    nearby_today: int
    told_today: int
    local_time: time


Request = RunRequest | ReleaseRequest | SearchRequest


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a rule refuses.

    Attributes:
        reason: What is wrong, in the hospital's words.
        remedy: The key of `site.yaml` or of the run that would change the verdict.
    """

    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.reason}; {self.remedy}"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one rule says of one request.

    Attributes:
        rule: The rule's name.
        looked_at: What it looked at, in the hospital's words.
        refusal: Why it refuses; None where it passes.
    """

    rule: str
    looked_at: str
    refusal: Refusal | None


RequestT = TypeVar("RequestT", contravariant=True)


class PolicyRule(Protocol[RequestT]):
    """One thing that a hospital limits."""

    @property
    def name(self) -> str:
        """What it limits, in a few words."""
        ...

    def looks_at(self, request: RequestT, /) -> str:
        """What it sees in the request, in the hospital's words."""
        ...

    def check(self, request: RequestT, /) -> Refusal | None:
        """None where the request passes."""
        ...


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A site's rules; every one must pass.

    Attributes:
        run_rules: Asked before any work is done for a run.
        release_rules: Asked before anything leaves.
        search_rules: Asked before a question of another hospital is answered; none in a simulation of training.
    """

    run_rules: tuple[PolicyRule[RunRequest], ...]
    release_rules: tuple[PolicyRule[ReleaseRequest], ...]
    search_rules: tuple[PolicyRule[SearchRequest], ...] = ()

    def verdicts(self, request: Request) -> list[Verdict]:
        """What each rule says, in the policy's order."""
        if isinstance(request, RunRequest):
            return _verdicts(self.run_rules, request)
        if isinstance(request, SearchRequest):
            return _verdicts(self.search_rules, request)
        return _verdicts(self.release_rules, request)

    def enforce(self, request: Request) -> None:
        """Let the request pass only where every rule does.

        Raises:
            PolicyRefusal: The first refusal.
        """
        for verdict in self.verdicts(request):
            if verdict.refusal is not None:
                raise PolicyRefusal(f"{verdict.rule}: {verdict.refusal}")


_AnyRequest = TypeVar("_AnyRequest")


def _verdicts(rules: Sequence[PolicyRule[_AnyRequest]], request: _AnyRequest) -> list[Verdict]:
    return [Verdict(rule=rule.name, looked_at=rule.looks_at(request), refusal=rule.check(request)) for rule in rules]
