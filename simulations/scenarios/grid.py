"""The cells of `--scenario robustness`, and what each is compared with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from common.config.schema import RobustnessConfig, RunConfig
from common.errors import ConfigError
from simulations.federation.checks import check_names
from simulations.scenarios.cells import Found, at_epsilon

NO_ATTACK, MEAN = "none", "mean"


@dataclass(frozen=True)
class Cell:
    """One federation of the grid.

    Attributes:
        epsilon: For the whole federation; None trains without privacy.
        num_byzantine: Attackers, which the rule is also told to bear.
        rule: As in `aggregator.name`.
        attack: As in `attack.name`.
    """

    epsilon: float | None
    num_byzantine: int
    rule: str
    attack: str

    @classmethod
    def reference(cls, epsilon: float | None) -> Cell:
        """What the cells at an epsilon are compared with."""
        return cls(epsilon, 0, MEAN, NO_ATTACK)

    @property
    def label(self) -> str:
        """The cell in one line."""
        privacy = "without privacy" if self.epsilon is None else f"epsilon {self.epsilon:g}"
        if not self.num_byzantine:
            return f"{self.rule}, nobody attacks, {privacy}"
        return f"{self.rule} against {self.attack} by {self.num_byzantine}, {privacy}"

    def changed(self, config: RunConfig) -> RunConfig:
        """The config of the cell's federation; the config handed in holds the epsilon already."""
        borne = 0 if self.rule == MEAN else self.num_byzantine
        return replace(
            config,
            aggregator=replace(config.aggregator, name=self.rule, num_byzantine=borne),
            attack=replace(config.attack, name=self.attack, num_sites=self.num_byzantine),
        )


Repeat = tuple[int, Cell]
"""A cell under one seed."""

RATES = frozenset(("recall_at_10", "codes_recall_at_10", "backdoor_success", "backdoor_control", "attacker_weight"))


def grid(config: RobustnessConfig) -> list[Cell]:
    """The cells in their order: by epsilon, its reference first, then by attackers, rule and attack."""
    cells = []
    for epsilon in config.epsilons:
        cells.append(Cell.reference(epsilon))
        for num_byzantine in config.num_byzantine:
            attacks = (NO_ATTACK, *config.attacks) if num_byzantine else (NO_ATTACK,)
            cells += [Cell(epsilon, num_byzantine, rule, attack) for rule in config.rules for attack in attacks]
    return list(dict.fromkeys(cells))


def check_grid(config: RunConfig) -> None:
    """Refuse a grid that cannot run before a study is read.

    Raises:
        ConfigError: A list is empty, a number of attackers negative, or a name unknown.
    """
    found = config.robustness
    for key, values in vars(found).items():
        if not values:
            raise ConfigError(f"robustness.{key}: empty; name at least one")
    if min(found.num_byzantine) < 0:
        raise ConfigError(f"robustness.num_byzantine={found.num_byzantine}: a number of sites is at least 0")
    for epsilon in found.epsilons:
        for rule in found.rules:
            check_names(Cell(epsilon, 0, rule, NO_ATTACK).changed(at_epsilon(config, epsilon)))
    for attack in found.attacks:
        check_names(Cell(None, 0, MEAN, attack).changed(config))


def compared(found: Mapping[Repeat, Found]) -> dict[str, Any]:
    """The references, and every cell with the share of its reference that it kept; all are means over the seeds."""
    by_cell: dict[Cell, list[Found]] = {}
    for (_, cell), one in found.items():
        by_cell.setdefault(cell, []).append(one)
    means = {cell: _mean(several) for cell, several in by_cell.items()}
    references = {cell.epsilon: one for cell, one in means.items() if cell == Cell.reference(cell.epsilon)}
    return {
        "references": [{"epsilon": epsilon, **recalls_of(one)} for epsilon, one in references.items()],
        "cells": [
            {**asdict(cell), **one, "kept": kept_share(one["recall_at_10"], references[cell.epsilon])}
            for cell, one in means.items()
        ],
    }


def _mean(several: Sequence[Found]) -> Found:
    """One cell over its seeds: rates are averaged, what is counted is added up; one refusal is a refusal."""
    first = several[0]
    found: Found = {name: average([one[name] for one in several]) for name in first.keys() & RATES}
    if "refusal" in first:
        found["refusal"] = next((one["refusal"] for one in several if one["refusal"] is not None), None)
        found["rounds_updated"] = sum(one["rounds_updated"] for one in several)
        found["attacker_drops"] = dict(sum((Counter(one["attacker_drops"]) for one in several), Counter()))
        found["seconds"] = sum(one["seconds"] or 0.0 for one in several)
    return found


def average(values: Sequence[float | None]) -> float | None:
    """The mean; None where one is missing."""
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if len(present) == len(values) else None


def kept_share(recall_at_10: float | None, reference: Mapping[str, Any]) -> float | None:
    """A cell's recall over its reference's; None where there is none to compare."""
    if recall_at_10 is None or not reference["recall_at_10"]:
        return None
    return float(recall_at_10 / reference["recall_at_10"])


def recalls_of(pooled: Mapping[str, Any]) -> dict[str, float | None]:
    """Recall at 10 of embeddings and codes, from a model's metrics or from a cell's."""
    codes = pooled["codes"]["recall_at_10"] if "codes" in pooled else pooled["codes_recall_at_10"]
    return {"recall_at_10": pooled["recall_at_10"], "codes_recall_at_10": codes}
