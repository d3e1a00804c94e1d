"""The rows of the report's tables, read from the summary; the template only lays them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from server.report import words
from server.report.fairness.groups import ALL_SITES
from server.report.statistic import Statistic, Statistics

Summary = Mapping[str, Any]

LEAST_HEAT_RANGE = 0.10
"""Differences of recall below this never take the full colour, so that small ones do not look grave."""

POOLED = "All hospitals"

WIDEST_INTERVAL = 0.20
"""A hospital's own noised figures are shown where their interval is narrower; a wide one is read as if it spoke."""


@dataclass(frozen=True)
class SiteRow:
    """One hospital: that it took part, what it spent, what it gained.

    Attributes:
        name: The site.
        patients_band: Its number of training patients, as a band.
        rounds_joined: Rounds in which its update entered the model.
        drops: Why not in the others, in plain words.
        epsilon: Spent in this run.
        epsilon_replace_one: The same, where a neighbour replaces one patient in place of adding or removing one.
        epsilon_alone: The same, if every hospital that noise was shared with told the server what it knows.
        delta: At which it was spent.
        noise_multiplier: Noise over clip_norm.
        ledger_head: Last hash of its ledger.
        recall: Recall at 10, image to report, on its own held-out patients.
        start: The same for the public start model.
        gain: Their difference.
        chance: Recall at 10 of a blind guess among its own held-out studies; None where it was not told.
    """

    name: str
    patients_band: str | None
    rounds_joined: int
    drops: tuple[str, ...]
    epsilon: float | None
    epsilon_replace_one: float | None
    epsilon_alone: float | None
    delta: float | None
    noise_multiplier: float | None
    ledger_head: str | None
    recall: Statistic
    start: Statistic
    gain: Statistic
    chance: float | None

    @property
    def says_little(self) -> bool:
        """Whether noise and few patients leave so wide an interval that the figures say nothing."""
        low, high = self.recall.interval or (0.0, 0.0)
        return self.recall.private and high - low > WIDEST_INTERVAL


@dataclass(frozen=True)
class RetrievalRow:
    """One model over one gallery, in one direction.

    Attributes:
        scope: The site, or all of them.
        kind: `embedding` or `code`.
        cells: One statistic for each of `words.METRICS`.
        gallery: How many items are searched.
        chance: Recall at 10 of a blind guess.
    """

    scope: str
    kind: str
    cells: tuple[Statistic, ...]
    gallery: Statistic
    chance: Statistic

    @property
    def is_pooled(self) -> bool:
        """Whether the gallery holds the studies of every site."""
        return self.scope == POOLED

    @property
    def marked(self) -> bool:
        """Whether a figure of the row was released without noise."""
        return any(cell.marked for cell in self.cells)


@dataclass(frozen=True)
class GroupCell:
    """One group of patients at one site.

    Attributes:
        recall: Recall at 10, image to report; no value where it is suppressed.
        num_patients: Held-out patients of the group.
        suppressed: Whether it has too few of them to be shown.
        heat: 0 at the best group of the table to 100 far below it; None where there is no value.
    """

    recall: Statistic
    num_patients: int | None
    suppressed: bool
    heat: int | None = None


@dataclass(frozen=True)
class GroupTable:
    """Sites by groups of one attribute.

    Attributes:
        attribute: For example `sex`.
        groups: Column names, sorted: the groups that are shown at some site.
        never_shown: The others.
        rows: Site, and one cell for each column; None where the site has no such group.
        worst: `site`, `group` and `recall_at_10` of the group served worst, where one can be named.
        gap: Best minus worst recall at 10.
    """

    attribute: str
    groups: tuple[str, ...]
    never_shown: tuple[str, ...]
    rows: tuple[tuple[str, tuple[GroupCell | None, ...]], ...]
    worst: Mapping[str, Any] | None
    gap: Statistic

    @property
    def marked(self) -> bool:
        """Whether a figure of the table was released without noise."""
        return any(cell is not None and cell.recall.marked for _, cells in self.rows for cell in cells)

    @property
    def tells(self) -> bool:
        """Whether the gap is more than noise and chance make, as far as is known."""
        return self.gap.interval is None or self.gap.interval[0] > 0


@dataclass(frozen=True)
class BaselineRow:
    """One way to train, repeated.

    Attributes:
        name: In plain words.
        recalls: Recall at 10 of each split or seed.
        mean: Their mean.
        codes_mean: The mean for codes.
    """

    name: str
    recalls: tuple[float, ...]
    mean: float | None
    codes_mean: float | None


def site_rows(summary: Summary) -> list[SiteRow]:
    """One row for each site, in the summary's order."""
    statistics = Statistics(summary)
    rows = []
    for name, site in summary["sites"].items():
        recall = statistics.at("sites", name, "metrics", "recall_at_10")
        start = statistics.at("sites", name, "start_metrics", "recall_at_10")
        drops = tuple(f"{words.drop_reason(code)} ({number})" for code, number in site["drops"].items())
        rows.append(
            SiteRow(
                name=name,
                patients_band=site["patients_band"],
                rounds_joined=site["rounds_joined"],
                drops=drops,
                epsilon=site["epsilon"],
                epsilon_replace_one=site.get("epsilon_replace_one"),
                epsilon_alone=site.get("epsilon_alone"),
                delta=site["delta"],
                noise_multiplier=site.get("noise_multiplier"),
                ledger_head=site.get("ledger_head"),
                recall=recall,
                start=start,
                gain=recall.minus(start),
                chance=site.get("chance_recall_at_10"),
            )
        )
    return rows


def silent_sites(summary: Summary) -> list[str]:
    """Sites whose own figures say nothing under their noise, and are shown nowhere."""
    return [row.name for row in site_rows(summary) if row.says_little]


def retrieval_rows(summary: Summary, *, prefix: str) -> list[RetrievalRow]:
    """Embedding and code rows for the pooled gallery and for each site whose figures say something.

    Args:
        summary: The run.
        prefix: Of the metric names: empty for image to report, `text_to_image_` for report to image.
    """
    statistics = Statistics(summary)
    scopes: list[tuple[str, tuple[str, ...], tuple[str, ...]]]
    scopes = [(POOLED, ("pooled",), ("pooled",))] if summary.get("pooled") else []
    silent = silent_sites(summary)
    scopes += [(name, ("sites", name), ("sites", name, "metrics")) for name in summary["sites"] if name not in silent]
    rows = []
    for scope, place, embedding in scopes:
        for kind, section in {"embedding": embedding, "code": (*place, "codes")}.items():
            cells = tuple(statistics.at(*section, prefix + metric) for metric in words.METRICS)
            if any(cell.value is not None for cell in cells):
                gallery, chance = (
                    statistics.at(*place, "gallery"),
                    statistics.at(*place, "chance_recall_at_10"),
                )
                rows.append(RetrievalRow(scope, kind, cells, gallery, chance))
    return rows


def group_tables(summary: Summary) -> list[GroupTable]:
    """One table for each attribute that some site reported."""
    attributes = dict.fromkeys(group["attribute"] for group in summary["groups"])
    return [_group_table(summary, attribute) for attribute in attributes]


def _group_table(summary: Summary, attribute: str) -> GroupTable:
    statistics = Statistics(summary)
    cells: dict[tuple[str, str], GroupCell] = {}
    for position, group in enumerate(summary["groups"]):
        if group["attribute"] == attribute:
            # A suppressed number is not shown even if a summary wrongly holds it.
            shown = not group["suppressed"]
            recall = statistics.at("groups", position, "metrics", "recall_at_10") if shown else Statistic(None)
            patients = group["num_patients"] if shown else None
            cells[group["site"], group["group"]] = GroupCell(recall, patients, group["suppressed"])
    heated = _heat(cells)
    sites = [name for name in (*summary["sites"], ALL_SITES) if any(site == name for site, _ in cells)]
    groups = tuple(sorted({group for (_, group), cell in cells.items() if not cell.suppressed}))
    never = tuple(sorted({group for _, group in cells} - set(groups)))
    fairness = summary["fairness"].get(attribute, {})
    return GroupTable(
        attribute=attribute,
        groups=groups,
        never_shown=never,
        rows=tuple((site, tuple(heated.get((site, group)) for group in groups)) for site in sites),
        worst=fairness.get("worst_group"),
        gap=replace(statistics.at("fairness", attribute, "gap"), interval=_interval(fairness.get("gap_interval"))),
    )


def _interval(ends: Sequence[float] | None) -> tuple[float, float] | None:
    return None if ends is None else (ends[0], ends[1])


def _heat(cells: Mapping[tuple[str, str], GroupCell]) -> dict[tuple[str, str], GroupCell]:
    """The cells, each coloured by how far it falls below the best one."""
    values = [cell.recall.value for cell in cells.values() if cell.recall.value is not None]
    if not values:
        return dict(cells)
    best, span = max(values), max(max(values) - min(values), LEAST_HEAT_RANGE)
    return {
        key: cell
        if cell.recall.value is None
        else GroupCell(cell.recall, cell.num_patients, cell.suppressed, round(100 * (best - cell.recall.value) / span))
        for key, cell in cells.items()
    }


def baseline_rows(summary: Summary) -> list[BaselineRow]:
    """One row for each baseline, from the known ones in their order to any others."""
    baselines: Mapping[str, Mapping[str, Sequence[float | None]]] = summary.get("baselines") or {}
    known = [name for name in words.BASELINES if name in baselines]
    rows = []
    for name in [*known, *(name for name in baselines if name not in known)]:
        recalls = words.finite_values(baselines[name]["recall_at_10"])
        codes = words.finite_values(baselines[name].get("codes_recall_at_10", ()))
        rows.append(BaselineRow(words.BASELINES.get(name, name), recalls, words.mean(recalls), words.mean(codes)))
    return rows
