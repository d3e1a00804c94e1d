"""How much the server let each hospital count: from the records of the rounds to the summary and to the report.

A low weight is no proof of malice: a rule cannot tell a bad update from one of unusual patients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from server.report import words
from server.report.statistic import Statistic, Statistics

Summary = Mapping[str, Any]
Rounds = Sequence[Mapping[str, Any]]

LOW_WEIGHT = 0.25
"""The report warns of a site whose mean weight is below this share of an equal one."""
OFTEN_DROPPED = 0.5
"""And of one that was left out of more than this share of the rounds."""


@dataclass(frozen=True)
class ReputationRow:
    """One hospital.

    Attributes:
        name: The site.
        rounds_asked: Rounds in which it was asked to train.
        rounds_admitted: Rounds in which its update was admitted.
        drops: Why it was left out of the others, in plain words.
        dropped_share: Share of the rounds in which it was left out.
        mean_weight: Its mean share of the aggregated update, over the rounds that used it.
        equal_share: What an equal share would have been, over the same rounds.
        lowest_weight: The least of these shares.
    """

    name: str
    rounds_asked: int
    rounds_admitted: int
    drops: tuple[str, ...]
    dropped_share: float | None
    mean_weight: Statistic
    equal_share: float | None
    lowest_weight: Statistic

    @property
    def marked(self) -> bool:
        """Whether the weights follow from updates without noise."""
        return self.mean_weight.marked


@dataclass(frozen=True)
class WeightMap:
    """Sites by rounds.

    Attributes:
        sites: Rows.
        rounds: Columns.
        weights: Row by row; None where the site's update did not enter the model.
        reasons: Row by row, why the site was dropped, in plain words; None where it was not.
    """

    sites: tuple[str, ...]
    rounds: tuple[int, ...]
    weights: tuple[tuple[float | None, ...], ...]
    reasons: tuple[tuple[str | None, ...], ...]


def reputation(site: str, rounds: Rounds) -> dict[str, Any]:
    """The summary's `reputation` of a site.

    Args:
        site: The site.
        rounds: The records of the committed rounds.
    """
    asked = sum(site in record["asked"] for record in rounds)
    dropped = sum(site in record["dropped"] for record in rounds)
    shares = [
        (weight, 1 / len(record["weights"])) for record in rounds if (weight := _weight(record, site)) is not None
    ]
    return {
        "rounds_asked": asked,
        "rounds_admitted": sum(site in record["admitted"] for record in rounds),
        "rounds_dropped": dropped,
        "dropped_share": dropped / asked if asked else None,
        "mean_weight": words.mean(weight for weight, _ in shares),
        "equal_share": words.mean(equal for _, equal in shares),
        "lowest_weight": min((weight for weight, _ in shares), default=None),
    }


def reputation_rows(summary: Summary) -> list[ReputationRow]:
    """One row for each site whose reputation the summary holds."""
    statistics = Statistics(summary)
    rows = []
    for name, site in summary["sites"].items():
        found = site.get("reputation")
        if found is not None:
            rows.append(
                ReputationRow(
                    name=name,
                    rounds_asked=found["rounds_asked"],
                    rounds_admitted=found["rounds_admitted"],
                    drops=tuple(f"{words.drop_reason(code)} ({number})" for code, number in site["drops"].items()),
                    dropped_share=found["dropped_share"],
                    mean_weight=statistics.at("sites", name, "reputation", "mean_weight"),
                    equal_share=found["equal_share"],
                    lowest_weight=statistics.at("sites", name, "reputation", "lowest_weight"),
                )
            )
    return rows


def weight_map(summary: Summary, rounds: Rounds) -> WeightMap | None:
    """The weight of each site in each round; None where no round tells one."""
    sites = tuple(summary["sites"])
    weights = tuple(tuple(_weight(record, site) for record in rounds) for site in sites)
    if not any(weight is not None for row in weights for weight in row):
        return None
    reasons = tuple(tuple(_reason(record, site) for record in rounds) for site in sites)
    return WeightMap(sites, tuple(record["round"] for record in rounds), weights, reasons)


def warnings(summary: Summary) -> list[str]:
    """One line for each hospital that counted for little or was often left out."""
    lines = []
    for row in reputation_rows(summary):
        weight, equal = row.mean_weight.value, row.equal_share
        if row.dropped_share is not None and row.dropped_share > OFTEN_DROPPED and row.rounds_admitted:
            lines.append(f"{row.name}: left out of {words.percent(row.dropped_share)} of the rounds")
        if weight is not None and equal is not None and weight < LOW_WEIGHT * equal:
            lines.append(
                f"{row.name}: counted for {words.percent(weight)} on average, an equal share is {words.percent(equal)}"
            )
    return lines


def _weight(record: Mapping[str, Any], site: str) -> float | None:
    weight = (record.get("weights") or {}).get(site)
    return weight if weight is not None and math.isfinite(weight) else None


def _reason(record: Mapping[str, Any], site: str) -> str | None:
    code = (record.get("dropped") or {}).get(site)
    return None if code is None else words.drop_reason(code)
