"""The policy of a real hospital: every rule, with the limits of its `site.yaml`."""

from __future__ import annotations

from client.policy.hours import hours_of
from client.policy.interface import Policy
from client.policy.privacy_rules import EpsilonOfRun, LeastGroup, LeastNoise, PlannedReleases, PrivateTrainingOnly
from client.policy.release_rules import AccountedReleases, AllowedMechanisms, LargestUpdate, LeastCell
from client.policy.run_rules import (
    AllowedBundle,
    AllowedConfig,
    AllowedDevice,
    AllowedEncoder,
    AllowedHours,
    AllowedLoss,
)
from client.policy.site_schema import SiteConfig
from common.privacy.release import Mechanism


def policy_of(config: SiteConfig) -> Policy:
    """The rules that a hospital's configuration sets."""
    training, update = config.training, config.update
    largest = LargestUpdate(most_values=update.most_values, most_bytes=update.most_bytes, keys=update.keys)
    allowed = {
        name: frozenset(Mechanism(mechanism) for mechanism in mechanisms)
        for name, mechanisms in config.releases.allowed.items()
    }
    return Policy(
        run_rules=(
            AllowedConfig(training.config_digests),
            AllowedBundle(training.bundle_hashes),
            AllowedLoss(training.losses),
            AllowedEncoder(training.encoders),
            AllowedDevice(training.devices),
            AllowedHours(hours_of(training.hours)),
            PrivateTrainingOnly(),
            LeastNoise(training.least_noise_multiplier),
            EpsilonOfRun(config.budget.epsilon_per_run, config.budget.delta),
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
    )
