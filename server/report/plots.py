"""The report's figures (plotly). Text and grid lines take their colours from the page's style.

So one figure is legible on light and dark pages and on paper. Series differ by colour, marker and dash, and a
table beside each figure holds the same numbers.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from server.report.tables import BaselineRow

_ROUNDS_MARKED_EACH = 12
SERIES_COLOURS = ("#3b7fc0", "#c96a10", "#0f8f85", "#a162c4", "#d1477a", "#87801c", "#6f7c8a", "#a66c46")
"""Each has a contrast of 3 to 1 and more with the light and with the dark page (WCAG 2.2, 1.4.11)."""

_MARKERS = ("circle", "square", "diamond", "triangle-up", "x", "triangle-down", "star", "hexagon")
_DASHES = ("solid", "dash", "dot")
_NEUTRAL = "#7d8590"


@dataclass(frozen=True)
class Curve:
    """Recall at 10 of one site, image to report, on its own held-out patients.

    Attributes:
        site: The site.
        rounds: Round numbers; 0 is the public start model.
        recalls: One value for each round.
    """

    site: str
    rounds: tuple[int, ...]
    recalls: tuple[float, ...]


def learning_curves(summary: Mapping[str, Any], rounds: Sequence[Mapping[str, Any]]) -> list[Curve]:
    """The curve of each site that was measured at least once; rounds without a finite value are left out."""
    curves = []
    for site, facts in summary["sites"].items():
        measured: dict[int, float | None] = {0: (facts.get("start_metrics") or {}).get("recall_at_10")}
        measured |= {
            line["round"]: ((line.get("metrics") or {}).get(site) or {}).get("recall_at_10") for line in rounds
        }
        present = {number: value for number, value in measured.items() if value is not None and math.isfinite(value)}
        if set(present) - {0}:
            curves.append(Curve(site, tuple(present), tuple(present.values())))
    return curves


def curves_figure(curves: Sequence[Curve], *, chance: float | None) -> dict[str, Any]:
    """Recall at 10 by round, a line for each site and a dotted line at chance; plotly's JSON.

    Args:
        curves: As `learning_curves` gives them.
        chance: Recall at 10 of a blind guess, or None where it is not known.
    """
    figure = go.Figure()
    for number, curve in enumerate(curves):
        figure.add_scatter(
            x=curve.rounds,
            y=curve.recalls,
            name=as_text(curve.site),
            mode="lines+markers",
            line={
                "color": SERIES_COLOURS[number % len(SERIES_COLOURS)],
                "width": 2,
                "dash": _DASHES[number // len(SERIES_COLOURS) % len(_DASHES)],
            },
            marker={"symbol": _MARKERS[number % len(_MARKERS)], "size": 7},
            hovertemplate="%{y:.1%}",
        )
    if chance is not None:
        figure.add_hline(y=chance, line={"dash": "dot", "width": 1.5, "color": _NEUTRAL})
        figure.add_annotation(
            x=1, xref="paper", xanchor="right", y=chance, yanchor="bottom", text="chance", showarrow=False
        )
    figure.update_layout(**figure_layout(height=380), hovermode="x unified")
    last = max((max(curve.rounds, default=0) for curve in curves), default=0)
    figure.update_xaxes(**rounds_axis(last))
    figure.update_yaxes(title_text="Right report in first 10", tickformat=".0%", rangemode="tozero", **axis())
    return figure_json(figure)


def baselines_figure(rows: Sequence[BaselineRow]) -> dict[str, Any]:
    """A dot for each split or seed and a bar at the mean, a line for each way to train; plotly's JSON."""
    figure = go.Figure()
    names = [as_text(row.name) for row in rows]
    for name, row in zip(names, rows, strict=True):
        figure.add_scatter(
            x=row.recalls,
            y=[name] * len(row.recalls),
            name=name,
            mode="markers",
            marker={"color": SERIES_COLOURS[0], "size": 9, "opacity": 0.75},
            hovertemplate="%{x:.1%}<extra></extra>",
        )
    figure.add_scatter(
        x=[row.mean for row in rows],
        y=names,
        name="mean",
        mode="markers",
        marker={"symbol": "line-ns", "size": 20, "line": {"width": 3, "color": SERIES_COLOURS[1]}},
        hovertemplate="mean %{x:.1%}<extra></extra>",
    )
    figure.update_layout(**figure_layout(height=90 + 38 * len(rows)), showlegend=False)
    figure.update_xaxes(title_text="In first 10", tickformat=".0%", rangemode="tozero", **axis())
    figure.update_yaxes(autorange="reversed", automargin=True, ticks="", ticklabelstandoff=8)
    return figure_json(figure)


def as_text(name: str) -> str:
    """A name as plotly shows it: it reads HTML, so that an unescaped one could hold a link, and knows no `&quot;`."""
    return html.escape(name, quote=False)


def figure_layout(*, height: int) -> dict[str, Any]:
    """What every figure has in common; its ground is the page's."""
    return {
        "template": None,
        "height": height,
        "margin": {"l": 64, "r": 16, "t": 16, "b": 56},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13},
        "legend": {"orientation": "h", "y": -0.22, "x": 0},
        "dragmode": False,
    }


def axis() -> dict[str, Any]:
    """What every axis has in common."""
    return {"zeroline": False, "fixedrange": True, "title_standoff": 12}


def rounds_axis(last: int) -> dict[str, Any]:
    """The axis of a figure over rounds, up to the last one."""
    # With few rounds plotly would also mark halves of them, rounded to the same label.
    step = {"dtick": 1} if last <= _ROUNDS_MARKED_EACH else {}
    return {"title_text": "Round (0: public start model)", "tickformat": "d", **step, **axis()}


def figure_json(figure: go.Figure) -> dict[str, Any]:
    """A figure as plotly's JSON."""
    content: dict[str, Any] = json.loads(figure.to_json())
    return content
