"""How the model fared on public studies, round by round, and where the server went back: figure and rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from server.report.plots import SERIES_COLOURS, axis, figure_json, figure_layout, rounds_axis


@dataclass(frozen=True)
class WatchedRound:
    """One round as the server saw it.

    Attributes:
        number: The round; 0 is the public start.
        probability: Geometric mean, over patients, of the probability that the model gives the right answer.
        step: What later steps are multiplied by.
        stepped_back: Whether the server went back to the best model, so that the round's model was thrown away.
    """

    number: int
    probability: float | None
    step: float = 1.0
    stepped_back: bool = False


def watched_rounds(summary: Mapping[str, Any], rounds: Sequence[Mapping[str, Any]]) -> list[WatchedRound]:
    """The start and each round that was measured; none where nothing was watched."""
    watched = summary.get("public_validation")
    if not watched:
        return []
    found = [WatchedRound(0, _probability(watched["start"]))]
    for line in rounds:
        if seen := line.get("validation"):
            probability = _probability(seen["value"])
            found.append(WatchedRound(line["round"], probability, seen["step"], seen["stepped_back"]))
    return found


def watched_figure(found: Sequence[WatchedRound]) -> dict[str, Any]:
    """The probability by round, rounds that were thrown away as crosses beside the line; plotly's JSON."""
    figure = go.Figure()
    kept = [one for one in found if not one.stepped_back]
    thrown = [one for one in found if one.stepped_back]
    for name, some, look in (
        ("the model", kept, {"mode": "lines+markers", "line": {"width": 2, "color": SERIES_COLOURS[0]}}),
        ("thrown away", thrown, {"mode": "markers", "marker": {"symbol": "x", "size": 9, "color": SERIES_COLOURS[1]}}),
    ):
        if some:
            figure.add_scatter(
                x=[one.number for one in some],
                y=[one.probability for one in some],
                name=name,
                hovertemplate="%{y:.2%}",
                **look,
            )
    figure.update_layout(**figure_layout(height=320), hovermode="x unified")
    figure.update_xaxes(**rounds_axis(max(one.number for one in found)))
    figure.update_yaxes(title_text="Probability of the right answer", tickformat=".1%", **axis())
    return figure_json(figure)


def _probability(value: float | None) -> float | None:
    return None if value is None else math.exp(value)
