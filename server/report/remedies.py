"""The comparison of `--scenario fairness` as the report shows it: what each remedy leaves of a gap, and costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from server.report import words
from server.report.plots import SERIES_COLOURS, as_text, axis, figure_json, figure_layout

Summary = Mapping[str, Any]
Interval = tuple[float, float]

UNTREATED = "none"
MOST_LEFT, LEAST_KEPT = 0.5, 0.97
"""A remedy helps where it leaves at most so much of the gap and keeps at least so much of the recall."""

_MARKERS = ("circle", "square", "diamond", "triangle-up")


@dataclass(frozen=True)
class RemedyRow:
    """One remedy at one epsilon.

    Attributes:
        number: Its mark in the plot, from 1.
        remedy: In plain words.
        epsilon: In a title's words.
        recall: At 10, pooled, and its interval.
        gap: Of the group to all others, and its interval.
        kept: Share of the untreated federation's recall, and its interval.
        left: Share of its gap, and its interval; None where that gap cannot be told from none.
        is_untreated: Whether nothing was done.
    """

    number: int
    remedy: str
    epsilon: str
    recall: tuple[float, Interval]
    gap: tuple[float, Interval]
    kept: tuple[float, Interval]
    left: tuple[float, Interval] | None
    is_untreated: bool

    @property
    def helps(self) -> bool:
        """Whether it halves the gap at next to no cost."""
        return (
            not self.is_untreated and self.left is not None and self.left[0] <= MOST_LEFT and self.kept[0] >= LEAST_KEPT
        )

    @property
    def verdict(self) -> str:
        """What came of it, in a few words."""
        if self.is_untreated:
            return "untreated"
        if self.left is None:
            return "there is no gap to be told"
        if self.helps:
            return "halves the gap" if self.left[1][1] < 1 else "halves the gap, which may be chance"
        if self.left[0] > MOST_LEFT:
            return "leaves the gap" if self.left[1][1] >= 1 else "narrows the gap"
        return "costs too much"


def remedy_rows(summary: Summary) -> list[RemedyRow]:
    """A row for each cell, in the order of the cells; none for a run of another kind."""
    cells = (summary.get("remedies") or {"cells": []})["cells"]
    return [_row(number, cell) for number, cell in enumerate(cells, start=1)]


def remedies_verdict(summary: Summary) -> str | None:
    """Which remedies help, in a sentence for each epsilon; None for a run of another kind."""
    rows = remedy_rows(summary)
    if not rows:
        return None
    group = summary["remedies"]["group"]
    return " ".join(
        _sentence([row for row in rows if row.epsilon == epsilon], group)
        for epsilon in dict.fromkeys(row.epsilon for row in rows)
    )


def thresholds_verdict(summary: Summary) -> str | None:
    """What thresholds by group make of decisions, in a sentence for each epsilon; None where none were tried."""
    remedies = summary.get("remedies") or {}
    sentences = [_threshold_sentence(row, remedies["group"]) for row in remedies.get("thresholds", ())]
    return " ".join(sentences) or None


def remedies_figure(rows: Sequence[RemedyRow]) -> dict[str, Any]:
    """Gap against recall, a mark for each remedy with both intervals; plotly's JSON.

    A dotted corner marks what would help at each epsilon: at most half the gap, next to all of the recall.
    """
    figure = go.Figure()
    for number, epsilon in enumerate(dict.fromkeys(row.epsilon for row in rows)):
        colour, own = SERIES_COLOURS[number % len(SERIES_COLOURS)], [row for row in rows if row.epsilon == epsilon]
        figure.add_scatter(
            x=[row.gap[0] for row in own],
            y=[row.recall[0] for row in own],
            error_x=_bars([row.gap for row in own], colour),
            error_y=_bars([row.recall for row in own], colour),
            name=as_text(epsilon),
            mode="markers+text",
            text=[str(row.number) for row in own],
            hovertext=[as_text(row.remedy) for row in own],
            textposition="top right",
            marker={
                "color": colour,
                "size": [14 if row.is_untreated else 9 for row in own],
                "symbol": _MARKERS[number % len(_MARKERS)],
            },
            hovertemplate="%{hovertext}: gap %{x:.1%}, finds %{y:.1%}<extra></extra>",
        )
        untreated = next(row for row in own if row.is_untreated)
        if untreated.gap[0] > 0:
            half, least = MOST_LEFT * untreated.gap[0], LEAST_KEPT * untreated.recall[0]
            figure.add_scatter(
                x=[half, half, 0.0],
                y=[untreated.recall[1][1], least, least],
                mode="lines",
                line={"dash": "dot", "width": 1.5, "color": colour},
                hoverinfo="skip",
                showlegend=False,
            )
    figure.update_layout(**figure_layout(height=460))
    figure.update_xaxes(title_text="Gap of the group to all others", tickformat=".0%", **axis())
    figure.update_yaxes(title_text="Right report in first 10", tickformat=".0%", **axis())
    return figure_json(figure)


def _row(number: int, cell: Mapping[str, Any]) -> RemedyRow:
    return RemedyRow(
        number=number,
        remedy=words.remedy(cell["remedy"]),
        epsilon=words.privacy(cell["epsilon"]),
        recall=_figure(cell["recall_at_10"]),
        gap=_figure(cell["gap"]),
        kept=_figure(cell["kept"]),
        left=None if cell["gap_left"] is None else _figure(cell["gap_left"]),
        is_untreated=cell["remedy"] == UNTREATED,
    )


def _figure(found: Mapping[str, float]) -> tuple[float, Interval]:
    return found["value"], (found["low"], found["high"])


def _sentence(rows: Sequence[RemedyRow], group: str) -> str:
    """What helps at one epsilon."""
    untreated = next(row for row in rows if row.is_untreated)
    where = words.capital(f"with {rows[0].epsilon}:")
    low, high = untreated.gap[1]
    if low <= 0:
        return f"{where} whether {group} is served worse than the others cannot be told."
    told = f"{100 * untreated.gap[0]:.1f} points ({100 * low:.1f} to {100 * high:.1f})"
    good = [row.remedy for row in rows if row.helps]
    done = (
        f"{words.listing(good)} halve{'s' if len(good) == 1 else ''} it and keep{'s' if len(good) == 1 else ''} "
        f"{words.whole_percent(LEAST_KEPT)}% of what is found"
        if good
        else f"no remedy halves it and keeps {words.whole_percent(LEAST_KEPT)}% of what is found"
    )
    return f"{where} {group} is found less often than the others by {told}; {done}."


def _threshold_sentence(row: Mapping[str, Any], group: str) -> str:
    """What they make of decisions at one epsilon."""
    where = words.capital(f"with {words.privacy(row['epsilon'])}")
    before, after = (row[at]["odds"] for at in ("public", "own"))
    return (
        f"{where} {group} and the others are {_points(before)} off "
        f"equalised odds at one threshold for all, and {_points(after)} at each group's own."
    )


def _points(figure: Mapping[str, float]) -> str:
    value, low, high = (100 * figure[end] for end in ("value", "low", "high"))
    return f"{value:.1f} points ({low:.1f} to {high:.1f})"


def _bars(figures: Sequence[tuple[float, Interval]], colour: str) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - value for value, (_, high) in figures],
        "arrayminus": [value - low for value, (low, _) in figures],
        "color": colour,
        "thickness": 1,
        "width": 3,
    }
