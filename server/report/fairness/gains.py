"""Who gains, who loses and who pays, by hospital and by group of patients.

Recall at 10 with the final model is held against the public start, and against training alone where a run knows that. A
gain is one where its whole interval is above zero, a loss one where it is below; of the rest we cannot tell. The gain
over the start is of the same patients by both models. That over training alone is of two figures with their own
intervals (Newcombe 1998, method 10), which for the same patients is wider than it had to be.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from server.report import words
from server.report.fairness.groups import ALL_SITES
from server.report.statistic import Statistic, Statistics
from server.report.tables import silent_sites

Summary = Mapping[str, Any]

NOTHING = Statistic(None)
GAINS, LOSES, CANNOT_TELL = "gains", "loses", "we cannot tell"


@dataclass(frozen=True, kw_only=True)
class GainRow:
    """One hospital, or one group of patients.

    Attributes:
        site: The hospital, or all of them.
        attribute: Of the group; None for a whole hospital.
        group: The group; None for a whole hospital.
        start: Recall at 10 with the public start.
        alone: With what the hospital trained by itself; no value where nobody did.
        now: With the final model.
        gain: Now less start.
        over_alone: Now less alone.
        epsilon: What each training patient paid; None for a group, and without privacy.
        weight: The hospital's mean share of the aggregated update; no value for a group.
        equal_share: What an equal share would have been.
    """

    site: str
    attribute: str | None = None
    group: str | None = None
    start: Statistic
    alone: Statistic
    now: Statistic
    gain: Statistic
    over_alone: Statistic
    epsilon: float | None = None
    weight: Statistic = NOTHING
    equal_share: float | None = None

    @property
    def name(self) -> str:
        """What it is called in a sentence."""
        if self.attribute is None or self.group is None:
            return self.site
        return words.group_by(self.attribute, self.group)

    @property
    def verdict(self) -> str:
        """Whether it gains over the start."""
        return verdict(self.gain)

    @property
    def verdict_over_alone(self) -> str:
        """Whether it gains over training alone."""
        return verdict(self.over_alone)

    @property
    def marked(self) -> bool:
        """Whether a figure of the row was released without noise."""
        return any(one.marked for one in (self.start, self.alone, self.now, self.gain, self.weight))


def verdict(change: Statistic) -> str:
    """What the interval of a change says."""
    if change.value is None or change.interval is None:
        return CANNOT_TELL
    low, high = change.interval
    return GAINS if low > 0 else LOSES if high < 0 else CANNOT_TELL


def site_gains(summary: Summary) -> list[GainRow]:
    """A row for each hospital; figures that noise drowns are left out."""
    statistics, silent = Statistics(summary), set(silent_sites(summary))
    rows = []
    for name, site in summary["sites"].items():
        tells = name not in silent
        start, now = (
            statistics.at("sites", name, part, "recall_at_10") if tells else NOTHING
            for part in ("start_metrics", "metrics")
        )
        alone = statistics.estimate("sites", name, "alone")
        rows.append(
            GainRow(
                site=name,
                start=start,
                alone=alone,
                now=now,
                gain=statistics.estimate("sites", name, "difference") if tells else NOTHING,
                over_alone=over(now, alone),
                epsilon=site["epsilon"],
                weight=statistics.at("sites", name, "reputation", "mean_weight"),
                equal_share=(site.get("reputation") or {}).get("equal_share"),
            )
        )
    return rows


def group_gains(summary: Summary) -> list[GainRow]:
    """A row for each group that is shown, at all hospitals together and at each."""
    statistics = Statistics(summary)
    rows = []
    for position, group in enumerate(summary["groups"]):
        if group["suppressed"]:
            continue
        start, alone, now = (
            statistics.at("groups", position, "metrics", f"{which}recall_at_10") for which in ("start_", "alone_", "")
        )
        rows.append(
            GainRow(
                site=group["site"],
                attribute=group["attribute"],
                group=group["group"],
                start=start,
                alone=alone,
                now=now,
                gain=statistics.estimate("groups", position, "difference"),
                over_alone=over(now, alone),
            )
        )
    return rows


def of_all_hospitals(rows: Iterable[GainRow]) -> list[GainRow]:
    """The rows of groups of all hospitals together."""
    return [row for row in rows if row.site == ALL_SITES]


def over(now: Statistic, before: Statistic) -> Statistic:
    """The difference of two figures that were told with intervals of their own."""
    change = now.minus(before)
    if now.value is None or before.value is None or now.interval is None or before.interval is None:
        return change
    value = now.value - before.value
    down = math.hypot(now.value - now.interval[0], before.interval[1] - before.value)
    up = math.hypot(now.interval[1] - now.value, before.value - before.interval[0])
    return replace(change, interval=(max(value - down, -1.0), min(value + up, 1.0)))


def read_out(rows: Sequence[GainRow], noun: str, *, over_what: str = "the public start") -> str | None:
    """A table in a sentence: how many gained, lost, and of how many we cannot tell; None for an empty one.

    Args:
        rows: The table's.
        noun: What a row is.
        over_what: What it is held against.
    """
    alone = over_what != "the public start"
    told = [(row, row.over_alone if alone else row.gain) for row in rows]
    if not told:
        return None
    by_verdict: dict[str, list[str]] = {GAINS: [], LOSES: [], CANNOT_TELL: []}
    for row, change in told:
        by_verdict[verdict(change)].append(_with_interval(row.name, change))
    if len(by_verdict[CANNOT_TELL]) == len(told):
        return f"Of no {noun} can we tell whether it gained over {over_what}."
    parts = [f"{_named(by_verdict[GAINS])} gained over {over_what}"]
    parts.append(f"{_named(by_verdict[LOSES])} lost")
    if untold := len(by_verdict[CANNOT_TELL]):
        parts.append(f"of {words.spelled(untold)} we cannot tell")
    return f"Of {words.plural(len(told), noun)} {', '.join(parts[:-1])}, and {parts[-1]}."


def _named(told: Sequence[str]) -> str:
    """How many, and who where they are few."""
    if not told or len(told) > words.MOST_NAMED // 2:
        return words.spelled(len(told)) if told else "none"
    return f"{words.spelled(len(told))} ({'; '.join(told)})"


def _with_interval(name: str, change: Statistic) -> str:
    if change.interval is None:
        return name
    low, high = change.interval
    return f"{name} {words.points(change.value)} points, {words.points(low)} to {words.points(high)}"
