"""Worst group and gap over time, of all hospitals together: by round where figures are exact, else start and end.

The gap is that between the best and the worst group of an attribute at that time. At the start and at the end it has an
interval that holds for all pairs of groups together (`gaps.py`); between them sites tell rates alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from server.report import words
from server.report.fairness.exact_groups import FIGURES
from server.report.fairness.gaps import gap_interval, wider_for
from server.report.fairness.groups import ALL_SITES, of_all_sites
from server.report.plots import SERIES_COLOURS, as_text, axis, figure_json, figure_layout, rounds_axis

Summary = Mapping[str, Any]
Rounds = Sequence[Mapping[str, Any]]

_FEWEST_COMPARED = 2


@dataclass(frozen=True)
class Moment:
    """The groups of one attribute after a round.

    Attributes:
        round: The round; 0 is the public start.
        worst: The group served worst.
        recall: Its recall at 10.
        gap: How far below the group served best.
        interval: Of the gap; None between start and end.
    """

    round: int
    worst: str
    recall: float
    gap: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class History:
    """One attribute over time.

    Attributes:
        attribute: For example `sex`.
        moments: From the start to the end.
    """

    attribute: str
    moments: tuple[Moment, ...]

    @property
    def sentence(self) -> str:
        """What became of the gap, with both intervals."""
        first, last = self.moments[0], self.moments[-1]
        attribute = words.attribute(self.attribute)
        before, after = _gap(first), _gap(last)
        changed = _verdict(first, last)
        same = "still " if first.worst == last.worst else ""
        return (
            f"{attribute}: the gap was {before} at the start, with {words.group(first.worst)} served worst, and is "
            f"{after} now, with {same}{words.group(last.worst)}: {changed}."
        )


def histories(summary: Summary, rounds: Rounds) -> list[History]:
    """Each attribute of which two groups are shown, at the start and at the end; none where no start was told."""
    rows = of_all_sites(summary["groups"])
    end = summary["rounds_completed"]
    found = []
    for attribute in dict.fromkeys(row["attribute"] for row in rows):
        shown = [row for row in rows if row["attribute"] == attribute and not row["suppressed"]]
        now, start = (_known(shown, figure) for figure in FIGURES)
        if min(len(now), len(start)) < _FEWEST_COMPARED or not end:
            continue
        between = [
            moment
            for line in rounds
            if 0 < line["round"] < end and (moment := _between(summary, line, attribute)) is not None
        ]
        found.append(History(attribute, (_told(start, 0), *between, _told(now, end))))
    return found


def history_figure(found: Sequence[History]) -> dict[str, Any]:
    """The gap by round, a line for each attribute, with the intervals that are told; plotly's JSON."""
    figure = go.Figure()
    for number, one in enumerate(found):
        gaps = [moment.gap for moment in one.moments]
        ends = [moment.interval or (moment.gap, moment.gap) for moment in one.moments]
        figure.add_scatter(
            x=[moment.round for moment in one.moments],
            y=gaps,
            # Plotly reads a name as HTML: an unescaped one could hold a link.
            name=as_text(words.attribute(one.attribute)),
            text=[as_text(f"worst: {words.group(moment.worst)}") for moment in one.moments],
            mode="lines+markers",
            line={"width": 2, "color": SERIES_COLOURS[number % len(SERIES_COLOURS)]},
            error_y={
                "type": "data",
                "array": [high - gap for (_, high), gap in zip(ends, gaps, strict=True)],
                "arrayminus": [gap - low for (low, _), gap in zip(ends, gaps, strict=True)],
                "thickness": 1,
                "width": 4,
            },
            hovertemplate="%{y:.1%}, %{text}",
        )
    figure.update_layout(**figure_layout(height=340), hovermode="x unified")
    figure.update_xaxes(**rounds_axis(max(one.moments[-1].round for one in found)))
    figure.update_yaxes(title_text="Best less worst group", tickformat=".0%", rangemode="tozero", **axis())
    return figure_json(figure)


def _known(rows: Sequence[Mapping[str, Any]], figure: str) -> list[dict[str, Any]]:
    """The rows that tell a figure, each with that figure as its recall at 10."""
    return [
        {
            "group": row["group"],
            "metrics": {"recall_at_10": row["metrics"][figure]},
            "intervals": {"recall_at_10": row["intervals"][figure]},
        }
        for row in rows
        if row["metrics"].get(figure) is not None and row["intervals"].get(figure) is not None
    ]


def _told(rows: Sequence[dict[str, Any]], number: int) -> Moment:
    better, worse = (which(rows, key=_recall) for which in (max, min))
    low, high = gap_interval(better, worse, wider=wider_for(math.comb(len(rows), 2)))
    gap = _recall(better) - _recall(worse)
    return Moment(number, worse["group"], _recall(worse), gap, (max(low, 0.0), min(high, 1.0)))


def _recall(row: Mapping[str, Any]) -> float:
    return float(row["metrics"]["recall_at_10"])


def _between(summary: Summary, line: Mapping[str, Any], attribute: str) -> Moment | None:
    """A round's groups, weighed by patients as the last ones are; None where fewer than two were told."""
    patients, hits = dict[str, float](), dict[str, float]()
    for row in summary["groups"]:
        if row["attribute"] != attribute or row["suppressed"] or row["site"] == ALL_SITES:
            continue
        told = ((line.get("metrics") or {}).get(row["site"]) or {}).get("groups") or {}
        recall = (told.get(attribute) or {}).get(row["group"])
        if recall is not None and row["num_patients"]:
            patients[row["group"]] = patients.get(row["group"], 0) + row["num_patients"]
            hits[row["group"]] = hits.get(row["group"], 0) + row["num_patients"] * recall
    if len(patients) < _FEWEST_COMPARED:
        return None
    recalls = {group: hits[group] / patients[group] for group in patients}
    worst = min(recalls, key=lambda group: (recalls[group], group))
    return Moment(line["round"], worst, recalls[worst], max(recalls.values()) - recalls[worst])


def _gap(moment: Moment) -> str:
    low, high = moment.interval or (None, None)
    return f"{words.unsigned(moment.gap)} points ({words.unsigned(low)} to {words.unsigned(high)})"


def _verdict(first: Moment, last: Moment) -> str:
    """What the two intervals say of the gap; they overlap where it cannot be told."""
    before, after = first.interval, last.interval
    if before is None or after is None or not (before[1] < after[0] or after[1] < before[0]):
        return "whether it changed, we cannot tell"
    return "it grew" if before[1] < after[0] else "it shrank"
