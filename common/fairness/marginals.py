"""The groups of patients that a run tells figures of: public, from its config alone, whoever is in the data.

A *marginal* cuts all studies into groups by one attribute, or by two together. Each study is in one group of each
marginal: what is not recorded is `unknown`, and what the config does not name is `other`. So the existence of a group
says nothing of a patient, and all marginals of a table have the same total.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from common.config.registry import near
from common.config.schema import FairnessConfig
from common.errors import ConfigError
from common.fairness.groups import AGE_BANDS, group_of
from common.types import StudyRecord

UNKNOWN, OTHER = "unknown", "other"
BOTH = "*"
"""Between the attributes of an intersection, and between the groups of one."""

SEXES = ("F", "M", "O")


@dataclass(frozen=True)
class Marginal:
    """A cut of all studies into groups.

    Attributes:
        attributes: One, or two whose groups are crossed.
        levels: The groups of each attribute, `unknown` last.
    """

    attributes: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]

    @property
    def name(self) -> str:
        """Its name in a config, a summary and a report."""
        return BOTH.join(self.attributes)

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of its groups, in order; those of an intersection with the second attribute running first."""
        return tuple(f" {BOTH} ".join(names) for names in itertools.product(*self.levels))

    def group_of(self, record: StudyRecord) -> int:
        """The position of a study's group."""
        known, position = group_of(record), 0
        for attribute, levels in zip(self.attributes, self.levels, strict=True):
            position = position * len(levels) + _level(known.get(attribute), levels)
        return position

    def parts_of(self, group: int) -> tuple[int, ...]:
        """The position of a group's part in each of the attributes."""
        parts: list[int] = []
        for levels in reversed(self.levels):
            group, part = divmod(group, len(levels))
            parts.insert(0, part)
        return tuple(parts)


def marginals_of(config: FairnessConfig) -> tuple[Marginal, ...]:
    """The marginals that a run tells, single attributes first.

    Raises:
        ConfigError: An attribute is unknown, named twice or without groups, or an intersection is not of two of them.
    """
    levels = levels_of(config)
    for attribute in config.attributes:
        if attribute not in levels:
            raise ConfigError(f"fairness.attributes: {attribute}: unknown; {near(attribute, list(levels))}")
        if len(levels[attribute]) < len((OTHER, UNKNOWN)) + 1:
            raise ConfigError(f"fairness.attributes: {attribute} has no groups; name them in fairness.{attribute}s")
    if len(set(config.attributes)) < len(config.attributes):
        raise ConfigError("fairness.attributes: names an attribute twice; remove one")
    if len(set(config.intersections)) < len(config.intersections):
        raise ConfigError("fairness.intersections: names a pair twice; remove one")
    pairs = [tuple(intersection.split(BOTH)) for intersection in config.intersections]
    for pair, text in zip(pairs, config.intersections, strict=True):
        if len(pair) != len(set(pair)) or len(pair) != 2 or not set(pair) <= set(config.attributes):
            raise ConfigError(
                f"fairness.intersections: {text}: write two of fairness.attributes, for example sex{BOTH}age_band"
            )
    cuts: Sequence[tuple[str, ...]] = [*((attribute,) for attribute in config.attributes), *pairs]
    return tuple(Marginal(cut, tuple(levels[attribute] for attribute in cut)) for cut in cuts)


def levels_of(config: FairnessConfig) -> dict[str, tuple[str, ...]]:
    """The groups of each attribute that a run knows, `unknown` last."""
    return {
        "sex": (*SEXES, UNKNOWN),
        "age_band": (*AGE_BANDS, UNKNOWN),
        "race": (*config.races, OTHER, UNKNOWN),
        "scanner": (*config.scanners, OTHER, UNKNOWN),
        "language": (*config.languages, OTHER, UNKNOWN),
    }


def _level(group: str | None, levels: tuple[str, ...]) -> int:
    """The position of a group among those that are named; the case of letters does not matter."""
    if group is None:
        return levels.index(UNKNOWN)
    folded = [level.casefold() for level in levels]
    name = group.strip().casefold()
    return folded.index(name) if name in folded else folded.index(OTHER if OTHER in levels else UNKNOWN)
