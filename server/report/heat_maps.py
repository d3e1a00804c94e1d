"""The report's heat maps (plotly), as translucent colours over the page: so one figure serves light, dark and paper.

Every cell carries its number as text, and a table beside each figure holds the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from server.report import words
from server.report.plots import as_text, figure_json, figure_layout
from server.report.reputation import WeightMap
from server.report.robustness import HOLDS, BackdoorRow, Grid

ALARM, CALM = "#c8641a", "#0f8f85"
DEEPEST = 0.65
"""Opacity of the deepest cell: text in the page's ink keeps a contrast of 4.5 to 1 on it, on every page."""
MOST_LABELLED = 24
"""A heat map of more columns shows its numbers on hovering only."""

CROSS = "\N{MULTIPLICATION SIGN}"
_OVERHANG = 56
"""Room right of the last column for its turned label."""
_CELL = 30
_GAP = 2


def kept_figure(grid: Grid) -> dict[str, Any]:
    """Rules by attacks: the share of the reference that is kept; plotly's JSON. What holds has a colour of its own."""
    just_below = HOLDS - 1e-6
    scale = [
        [0.0, _shade(ALARM, DEEPEST)],
        [just_below, _shade(ALARM, 0.12)],
        [HOLDS, _shade(CALM, 0.3)],
        [1.0, _shade(CALM, 0.3)],
    ]
    refused = [
        (attack, rule, reason)
        for rule, reasons in enumerate(grid.refusals)
        for attack, reason in enumerate(reasons)
        if reason is not None
    ]
    return _heat_map(
        grid.kept,
        rows=[words.rule(rule) for rule in grid.rules],
        columns=[words.attack(attack) for attack in grid.attacks],
        scale=scale,
        highest=1.0,
        marks=refused,
    )


def backdoor_figure(rows: Sequence[BackdoorRow], grids: Sequence[Grid]) -> dict[str, Any]:
    """Rules by grids: how often the backdoor works; plotly's JSON."""
    return _heat_map(
        [row.success for row in rows],
        rows=[row.rule for row in rows],
        columns=[grid.title.replace(", ", ",<br>", 1) for grid in grids],
        scale=[[0.0, _shade(ALARM, 0.0)], [1.0, _shade(ALARM, DEEPEST)]],
        highest=1.0,
    )


def weights_figure(found: WeightMap) -> dict[str, Any]:
    """Sites by rounds: the share of each in the aggregated update; a cross where it was left out. Plotly's JSON."""
    highest = max((weight for row in found.weights for weight in row if weight is not None), default=1.0)
    marks = [
        (number, site, reason)
        for site, reasons in enumerate(found.reasons)
        for number, reason in enumerate(reasons)
        if reason is not None
    ]
    return _heat_map(
        found.weights,
        rows=found.sites,
        columns=[str(number) for number in found.rounds],
        scale=[[0.0, _shade(CALM, 0.0)], [1.0, _shade(CALM, 0.6)]],
        highest=max(highest, 1e-9),
        marks=marks,
        title="Round",
    )


def _heat_map(
    values: Sequence[Sequence[float | None]],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    scale: list[list[Any]],
    highest: float,
    marks: Sequence[tuple[int, int, str]] = (),
    title: str | None = None,
) -> dict[str, Any]:
    """One cell a value, with its whole percentage; marks are column, row and what to say of a cell without one.

    Rows and columns stand at whole numbers, so that two with one name stay two.
    """
    labelled = len(columns) <= MOST_LABELLED
    figure = go.Figure()
    figure.add_heatmap(
        z=[list(row) for row in values],
        zmin=0.0,
        zmax=highest,
        colorscale=scale,
        showscale=False,
        xgap=_GAP,
        ygap=_GAP,
        text=[[words.whole_percent(value) for value in row] for row in values],
        texttemplate="%{text}" if labelled else "",
        hoverongaps=False,
        customdata=[[[_plain(row), _plain(column)] for column in columns] for row in rows],
        hovertemplate="%{customdata[0]}, %{customdata[1]}: %{z:.1%}<extra></extra>",
    )
    if marks:
        figure.add_scatter(
            x=[column for column, _, _ in marks],
            y=[row for _, row, _ in marks],
            mode="text",
            text=[CROSS] * len(marks),
            textfont={"size": 18},
            hovertext=[f"{_plain(rows[row])}, {_plain(columns[column])}: {as_text(why)}" for column, row, why in marks],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    longest = max((len(line) for column in columns for line in column.split("<br>")), default=0)
    turned = longest > 4 and len(columns) > 6
    layout = figure_layout(height=70 + _CELL * len(rows) + (min(longest, 14) * 6 if turned else 0))
    layout["margin"] = {"l": 8, "r": _OVERHANG if turned else 8, "t": 8, "b": 8}
    figure.update_layout(**layout, showlegend=False)
    axis = {"fixedrange": True, "showgrid": False, "zeroline": False, "automargin": True, "ticks": ""}
    step = 1 if labelled else -(-len(columns) // MOST_LABELLED)
    figure.update_xaxes(
        **axis,
        tickvals=list(range(0, len(columns), step)),
        ticktext=[_escaped(column) for column in columns[::step]],
        tickangle=-45 if turned else 0,
        ticklabeloverflow="allow",
        side="bottom" if title else "top",
        title_text=title,
        range=[-0.5, len(columns) - 0.5],
    )
    figure.update_yaxes(
        **axis,
        tickvals=list(range(len(rows))),
        ticktext=[_escaped(row) for row in rows],
        range=[len(rows) - 0.5, -0.5],
        ticklabelstandoff=8,
    )
    return figure_json(figure)


def _shade(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def _escaped(name: str) -> str:
    """A name as plotly's text, which it reads as HTML: only this module's own line breaks stay."""
    return "<br>".join(as_text(part) for part in name.split("<br>"))


def _plain(name: str) -> str:
    return as_text(name.replace("<br>", " "))
