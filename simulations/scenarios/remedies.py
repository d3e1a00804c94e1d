"""The cells of `--scenario fairness`: a remedy against a group's gap, at an epsilon.

Each remedy is turned on by itself, with the strength that the config's `mitigation`, `loss` and `encoder` give;
`weight+score_level` turns on both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter

from common.config.load import config_as_json, config_from_json
from common.config.registry import near
from common.config.schema import RunConfig
from common.encoders.tone import RECORDED
from common.encoders.words import ALL_WORDS
from common.errors import ConfigError
from common.fairness.emphasis import SAMPLING, WEIGHT, cut_of
from common.losses.composition import with_term, without_term
from simulations.federation.checks import check_names
from simulations.scenarios.cells import at_epsilon

NONE = "none"
SCORE_LEVEL = "score_level"
"""Name of the term, and of the remedy that adds it."""

OFF: tuple[object, ...] = ({}, 0.0, RECORDED, ALL_WORDS)
"""Strengths of a remedy that does nothing."""

SiteRecall = Mapping[str, float]
"""Recall of each site as the untreated federation released it."""


@dataclass(frozen=True)
class Remedy:
    """One way to treat a gap.

    Attributes:
        strength: The key that says how strong it is.
        turn_on: The second config, where all is off, with this turned on as the first one has it.
    """

    strength: str
    turn_on: Callable[[RunConfig, RunConfig, SiteRecall], RunConfig]


@dataclass(frozen=True)
class Cell:
    """One federation.

    Attributes:
        epsilon: For the whole federation; None trains without privacy.
        remedy: Names of `REMEDIES` with plus signs between, or `none`.
    """

    epsilon: float | None
    remedy: str

    @property
    def label(self) -> str:
        """The cell in one line."""
        return f"{self.remedy}, {'without privacy' if self.epsilon is None else f'epsilon {self.epsilon:g}'}"

    def changed(self, config: RunConfig, site_recall: SiteRecall) -> RunConfig:
        """The config of the cell's federation.

        Args:
            config: The scenario's, with the strength of each remedy.
            site_recall: As the untreated federation at this epsilon released it.
        """
        changed = at_epsilon(untreated(config), self.epsilon)
        for name in _parts(self.remedy):
            changed = REMEDIES[name].turn_on(config, changed, site_recall)
        return changed


def cells_of(config: RunConfig) -> list[Cell]:
    """The cells in their order: by epsilon, the untreated one first."""
    remedies = config.remedies
    cells = [Cell(epsilon, name) for epsilon in remedies.epsilons for name in (NONE, *remedies.names)]
    return list(dict.fromkeys(cells))


def check_remedies(config: RunConfig) -> None:
    """Refuse a comparison that cannot run before a study is read.

    Raises:
        ConfigError: A list is empty, a name or the group is unknown, a remedy has no strength, or a cell cannot run.
    """
    remedies = config.remedies
    for key in ("names", "epsilons"):
        if not getattr(remedies, key):
            raise ConfigError(f"remedies.{key}: empty; name at least one")
    groups = cut_of(config).groups
    if remedies.group not in groups:
        raise ConfigError(
            f"remedies.group={remedies.group}: no group of {config.mitigation.attribute}; "
            f"{near(remedies.group, list(groups))}"
        )
    for name in remedies.names:
        for part in _parts(name):
            if part not in REMEDIES:
                raise ConfigError(f"remedies.names: {part}: unknown; {near(part, list(REMEDIES))}")
            if attrgetter(REMEDIES[part].strength)(config) in OFF:
                raise ConfigError(f"remedies.names: {part}: has no strength; give {REMEDIES[part].strength}")
    for cell in cells_of(config):
        changed = cell.changed(config, {"any site": 0.5})
        check_names(config_from_json(config_as_json(changed)))


def _parts(remedy: str) -> list[str]:
    return [] if remedy == NONE else remedy.split("+")


def untreated(config: RunConfig) -> RunConfig:
    """The same run with every remedy off."""
    return replace(
        config,
        mitigation=replace(config.mitigation, emphasis={}, shares={}, site_recall={}, adversary_weight=0.0),
        loss=replace(config.loss, name=without_term(config.loss, SCORE_LEVEL)),
        encoder=replace(config.encoder, tone=RECORDED, words=ALL_WORDS),
    )


def _emphasis(by: str) -> Callable[[RunConfig, RunConfig, SiteRecall], RunConfig]:
    def turn_on(given: RunConfig, untreated: RunConfig, site_recall: SiteRecall) -> RunConfig:  # noqa: ARG001 - others
        own = given.mitigation
        changed = replace(untreated.mitigation, emphasis=own.emphasis, shares=own.shares, emphasis_by=by)
        return replace(untreated, mitigation=changed)

    return turn_on


def _site_weights(given: RunConfig, untreated: RunConfig, site_recall: SiteRecall) -> RunConfig:  # noqa: ARG001 - others
    return replace(untreated, mitigation=replace(untreated.mitigation, site_recall=dict(site_recall)))


def _score_level(given: RunConfig, untreated: RunConfig, site_recall: SiteRecall) -> RunConfig:  # noqa: ARG001 - others
    return replace(untreated, loss=replace(untreated.loss, name=with_term(untreated.loss, SCORE_LEVEL)))


def _adversary(given: RunConfig, untreated: RunConfig, site_recall: SiteRecall) -> RunConfig:  # noqa: ARG001 - others
    weight = given.mitigation.adversary_weight
    return replace(untreated, mitigation=replace(untreated.mitigation, adversary_weight=weight))


def _tone(given: RunConfig, untreated: RunConfig, site_recall: SiteRecall) -> RunConfig:  # noqa: ARG001 - others
    return replace(untreated, encoder=replace(untreated.encoder, tone=given.encoder.tone))


def _words(given: RunConfig, untreated: RunConfig, site_recall: SiteRecall) -> RunConfig:  # noqa: ARG001 - others
    return replace(untreated, encoder=replace(untreated.encoder, words=given.encoder.words))


REMEDIES = {
    "words": Remedy("encoder.words", _words),
    "tone": Remedy("encoder.tone", _tone),
    "sampling": Remedy("mitigation.emphasis", _emphasis(SAMPLING)),
    "weight": Remedy("mitigation.emphasis", _emphasis(WEIGHT)),
    "site_weights": Remedy("mitigation.site_power", _site_weights),
    "score_level": Remedy("loss.weights.score_level", _score_level),
    "adversary": Remedy("mitigation.adversary_weight", _adversary),
}
