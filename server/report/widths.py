"""What codes find at each width, clean, attacked and certified: figure and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from server.report import words
from server.report.plots import SERIES_COLOURS, axis, figure_json, figure_layout

LINES = {
    "recall_at_10": ("as they are", "solid"),
    "attacked_recall_at_10": ("attacked", "dash"),
    "smoothed_recall_at_10": ("by votes", "dot"),
    "certified_recall_at_10": ("certified", "dashdot"),
}
"""Of the drawn images: the name of each line and its dashes."""


def widths_of(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The widths that were measured, in rising order; none where nobody asked."""
    return sorted((summary.get("pooled") or {}).get("widths") or [], key=lambda one: int(one["bits"]))


def widths_figure(widths: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Recall at 10 by width, a line for each way in which codes were tried; plotly's JSON."""
    figure = go.Figure()
    lines = {"all images": ("solid", [one["recall_at_10"] for one in widths])}
    if widths[0]["drawn"] is not None:
        lines = {name: (dash, [one["drawn"][key] for one in widths]) for key, (name, dash) in LINES.items()}
    for number, (name, (dash, recalls)) in enumerate(lines.items()):
        figure.add_scatter(
            x=[one["bits"] for one in widths],
            y=recalls,
            name=name,
            mode="lines+markers",
            line={"color": SERIES_COLOURS[number], "width": 2, "dash": dash},
            hovertemplate="%{y:.1%}",
        )
    figure.update_layout(**figure_layout(height=360), hovermode="x unified")
    figure.update_xaxes(title_text="Bits a study", tickvals=[one["bits"] for one in widths], **axis())
    figure.update_yaxes(title_text="Right report in first 10", tickformat=".0%", rangemode="tozero", **axis())
    return figure_json(figure)


def shape(widths: Sequence[Mapping[str, Any]]) -> str:
    """Which width finds most, in a sentence for each way that was tried."""
    ways = {"Over all images": [one["recall_at_10"] for one in widths]}
    if widths[0]["drawn"] is not None:
        for key, (name, _) in LINES.items():
            ways[f"Of the drawn images, {name}"] = [one["drawn"][key] for one in widths]
    return " ".join(f"{way}, {_best(widths, values)}." for way, values in ways.items())


def _best(widths: Sequence[Mapping[str, Any]], values: Sequence[float]) -> str:
    best = max(range(len(values)), key=values.__getitem__)
    return f"{widths[best]['bits']} bits find most ({words.percent(values[best])})"
