"""The policy of a real hospital: every rule, with the limits of its `site.yaml`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from client.policy.hours import hours_of
from client.policy.interface import Policy, PolicyRule, SearchRequest
from client.policy.privacy_rules import (
    EpsilonOfRun,
    LeastGroup,
    LeastNoise,
    LeastPeers,
    NotHopeless,
    PlannedReleases,
    PrivateTrainingOnly,
)
from client.policy.release_rules import AccountedReleases, AllowedMechanisms, LargestUpdate, LeastCell
from client.policy.run_rules import (
    AllowedBundle,
    AllowedConfig,
    AllowedDevice,
    AllowedEncoder,
    AllowedHours,
    AllowedLoss,
)
from client.policy.search_rules import AllowedAskers, NearbyPerDay, QuestionsPerHour, StudiesPerDay
from client.policy.site_schema import ANY, SearchLimits, SiteConfig
from common.privacy.release import Mechanism


@dataclass(frozen=True, kw_only=True)
class Approved:
    """A run that the hospital approved.

    Attributes:
        bundle: Hash of its bundle.
        run: Digest of its configuration.
    """

    bundle: str
    run: str


def policy_of(config: SiteConfig, *, approvals: Iterable[Approved] = ()) -> Policy:
    """The rules that a hospital's configuration sets.

    Args:
        config: The hospital's own configuration.
        approvals: Runs that it approved beside those that its configuration lists.
    """
    approved = tuple(approvals)
    training, update = config.training, config.update
    largest = LargestUpdate(most_values=update.most_values, most_bytes=update.most_bytes, keys=update.keys)
    allowed = {
        name: frozenset(Mechanism(mechanism) for mechanism in mechanisms)
        for name, mechanisms in config.releases.allowed.items()
    }
    return Policy(
        run_rules=(
            AllowedConfig(_with(training.config_digests, [run.run for run in approved])),
            AllowedBundle(_with(training.bundle_hashes, [run.bundle for run in approved])),
            AllowedLoss(training.losses),
            AllowedEncoder(training.encoders),
            AllowedDevice(training.devices),
            AllowedHours(hours_of(training.hours), "training.hours"),
            PrivateTrainingOnly(),
            LeastNoise(training.least_noise_multiplier),
            LeastPeers(config.privacy.least_peers),
            EpsilonOfRun(config.budget.epsilon_per_run, config.budget.delta),
            *([NotHopeless()] if training.refuse_hopeless else []),
            PlannedReleases(allowed),
            LeastGroup(config.releases.least_cell),
            largest,
        ),
        release_rules=(
            AllowedMechanisms(allowed),
            AccountedReleases(),
            largest,
            LeastCell(config.releases.least_cell),
        ),
        search_rules=search_rules_of(config.search),
    )


def search_rules_of(limits: SearchLimits) -> tuple[PolicyRule[SearchRequest], ...]:
    """The rules that a hospital's limits on searching set."""
    return (
        AllowedAskers(limits.allowed),
        AllowedHours(hours_of(limits.hours), "search.hours"),
        QuestionsPerHour(limits.questions_per_hour),
        NearbyPerDay(limits.nearby_per_day),
        StudiesPerDay(limits.studies_per_day),
    )


def _with(listed: Sequence[str], more: Sequence[str]) -> Sequence[str]:
    return listed if list(listed) == [ANY] else [*listed, *more]
