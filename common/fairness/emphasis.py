"""Emphasis: how much a patient of each group counts in training, over one of the group that counts most.

The factors are public and in the run's config, above 0 and at most 1; so are the shares of the groups among the
patients, where they are given: from a census, or from counts that were released with noise. Nothing of them is read
from the patients, so that they tell nothing of one. A patient's factor follows from their own studies alone.

Every patient's expected share of a step is their factor times what it would be, whether by rate or by weight
(`mitigation.emphasis_by`). The normaliser of a step is cut by the mean factor over the public shares: where these are
right, a step is as long as without emphasis, and its noise is larger by as much as it reads fewer patients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from common.config.registry import near
from common.config.schema import RunConfig
from common.errors import ConfigError
from common.fairness.marginals import Marginal, levels_of
from common.types import StudyRecord

SAMPLING, WEIGHT = "sampling", "weight"
"""How a patient is made to count for less: sampled more rarely, or weighed down after the clip."""


@dataclass(frozen=True)
class Emphasis:
    """How much each group counts.

    Attributes:
        groups: The cut into groups.
        factors: Of each of them, above 0 and at most 1.
        mean: Of the factors over the public shares.
    """

    groups: Marginal
    factors: tuple[float, ...]
    mean: float

    def of(self, record: StudyRecord) -> float:
        """The factor of a study's group."""
        return self.factors[self.groups.group_of(record)]


def emphasis_of(config: RunConfig) -> Emphasis | None:
    """The emphasis of a run; None where all patients count alike.

    Raises:
        ConfigError: A group is unknown, or the shares are of more than all patients.
    """
    mitigation = config.mitigation
    if not mitigation.emphasis:
        return None
    cut = cut_of(config)
    names = cut.groups
    for key, given in (("emphasis", mitigation.emphasis), ("shares", mitigation.shares)):
        for name in given:
            if name not in names:
                raise ConfigError(
                    f"mitigation.{key}.{name}: no group of {mitigation.attribute}; {near(name, list(names))}"
                )
    factors = tuple(mitigation.emphasis.get(name, 1.0) for name in names)
    return Emphasis(
        groups=cut,
        factors=factors,
        mean=_mean(dict(zip(names, factors, strict=True)), mitigation.shares),
    )


def cut_of(config: RunConfig) -> Marginal:
    """The cut into groups that a run's mitigation tells apart."""
    attribute = config.mitigation.attribute
    return Marginal((attribute,), (levels_of(config.fairness)[attribute],))


def mean_emphasis(config: RunConfig) -> float:
    """How much a patient counts on average over the public shares; 1 where all count alike, or no share is given.

    Raises:
        ConfigError: See `emphasis_of`.
    """
    emphasis = emphasis_of(config)
    return 1.0 if emphasis is None else emphasis.mean


def _mean(factors: Mapping[str, float], shares: Mapping[str, float]) -> float:
    """Whoever is in none of the groups whose shares are given counts in full; without shares, so does everybody."""
    named = sum(shares.values())
    if named > 1 + 1e-9:
        raise ConfigError(f"mitigation.shares: add up to {named:g}; the shares of all patients are 1 together")
    return sum(share * factors[name] for name, share in shares.items()) + max(1 - named, 0.0)
