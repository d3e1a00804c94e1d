"""Figures by group beside recall at 10, of all hospitals together: of ranks, and of scores of right and wrong pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from server.report import words
from server.report.fairness.gaps import OF_RANKS, OF_SCORES
from server.report.fairness.groups import ALL_SITES
from server.report.statistic import Statistic, Statistics

Summary = Mapping[str, Any]

TITLES = {
    "recall_at_1": "First hit",
    "recall_at_5": "In first 5",
    "mrr": "MRR",
    "true_positive_rate": "Right pairs found",
    "false_positive_rate": "False alarms",
    "auroc": "AUROC",
    "calibration_error": "Too sure by",
}
"""What a column is called."""
IN_POINTS = "calibration_error"
"""The one that is a difference."""


@dataclass(frozen=True)
class FigureTable:
    """Groups of one attribute by figures.

    Attributes:
        attribute: For example `sex`.
        figures: Which, by their names in the summary.
        rows: Group, and one statistic for each figure.
        sentence: Which figures surely differ between groups.
    """

    attribute: str
    figures: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Statistic, ...]], ...]
    sentence: str


def figure_tables(summary: Summary) -> list[FigureTable]:
    """One table for each attribute of which two groups tell more than recall at 10."""
    attributes = [name for name, found in summary["fairness"].items() if "scores" in found or "ranks" in found]
    return [_table(summary, name) for name in attributes]


def _table(summary: Summary, attribute: str) -> FigureTable:
    statistics, found = Statistics(summary), summary["fairness"][attribute]
    told = {part: names for part, names in (("ranks", OF_RANKS), ("scores", OF_SCORES)) if part in found}
    figures = tuple(name for names in told.values() for name in names)
    rows = tuple(
        (row["group"], tuple(statistics.at("groups", position, "metrics", name) for name in figures))
        for position, row in enumerate(summary["groups"])
        if (row["site"], row["attribute"], row["suppressed"]) == (ALL_SITES, attribute, False)
    )
    gaps = {name: found[part][name] for part, names in told.items() for name in names}
    return FigureTable(attribute, figures, rows, _sentence(attribute, gaps))


def _sentence(attribute: str, gaps: Mapping[str, Any]) -> str:
    """Each figure that surely differs, with the group served worse; the rest is said to be open."""
    by = words.attribute(attribute)
    sure = [_said(name, gap) for name, gap in gaps.items() if gap["gap_interval"][0] > 0]
    if not sure:
        return f"{by}: we cannot tell whether any of these figures differs between groups."
    rest = "; of the others we cannot tell" if len(sure) < len(gaps) else ""
    return f"{by}: {words.listing(sure)}{rest}."


def _said(name: str, gap: Mapping[str, Any]) -> str:
    gap_points, low, high = (words.unsigned(end) for end in (gap["gap"], *gap["gap_interval"]))
    worse = words.group(gap["worst_group"]["group"])
    return f"{TITLES[name]} is worse for {worse}, by {gap_points} points ({low} to {high})"
