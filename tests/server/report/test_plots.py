"""What the figures hold; how they look is for the eye."""

from __future__ import annotations

import json
from typing import Any

from server.report.plots import Curve, baselines_figure, curves_figure, learning_curves
from server.report.tables import BaselineRow


def test_curves_begin_at_the_public_start_and_skip_what_was_not_measured(
    summary: dict[str, Any], rounds: list[dict[str, Any]]
) -> None:
    rounds[0]["metrics"]["Harbour"]["recall_at_10"] = float("nan")
    curves = {curve.site: curve for curve in learning_curves(summary, rounds)}
    assert curves["Harbour"].rounds == (0, *range(2, 13))
    assert curves["Harbour"].recalls[0] == 0.38
    assert curves["St. Brigid"].rounds == (0, 1, 2, 5, 6, 7, 8, 10, 11, 12)
    assert curves["University"].recalls[-1] == rounds[-1]["metrics"]["University"]["recall_at_10"]


def test_there_are_no_curves_without_a_measured_round(summary: dict[str, Any]) -> None:
    assert learning_curves(summary, []) == []
    assert learning_curves(summary, [{"round": 1, "metrics": {"Harbour": None}}, {"round": 2}]) == []


def test_curves_differ_by_more_than_colour(summary: dict[str, Any], rounds: list[dict[str, Any]]) -> None:
    many = [learning_curves(summary, rounds)[0]] * 20
    lines = curves_figure(many, chance=0.1)["data"]
    looks = [(line["line"]["color"], line["line"]["dash"], line["marker"]["symbol"]) for line in lines]
    assert len(set(looks)) == 20
    assert len({line["marker"]["symbol"] for line in lines[:8]}) == 8


def test_each_of_a_few_rounds_is_marked_once(summary: dict[str, Any], rounds: list[dict[str, Any]]) -> None:
    curves = learning_curves(summary, rounds)
    assert curves_figure(curves, chance=None)["layout"]["xaxis"]["dtick"] == 1
    many = [Curve("Harbour", tuple(range(40)), (0.5,) * 40)]
    assert "dtick" not in curves_figure(many, chance=None)["layout"]["xaxis"]


def test_chance_is_drawn_where_it_is_known(summary: dict[str, Any], rounds: list[dict[str, Any]]) -> None:
    curves = learning_curves(summary, rounds)
    assert curves_figure(curves, chance=0.1)["layout"]["shapes"][0]["y0"] == 0.1
    assert "shapes" not in curves_figure(curves, chance=None)["layout"]


def test_names_cannot_bring_markup_into_a_figure(summary: dict[str, Any], rounds: list[dict[str, Any]]) -> None:
    hostile = '<a href="http://example.org">x</a>'
    summary["sites"] = {hostile: summary["sites"]["Harbour"]}
    rounds[0]["metrics"] = {hostile: {"recall_at_10": 0.4}}
    curves = curves_figure(learning_curves(summary, rounds[:1]), chance=None)
    baselines = baselines_figure([BaselineRow(hostile, (0.5,), 0.5, None)])
    assert "<a" not in json.dumps(curves)
    assert "<a" not in json.dumps(baselines)


def test_quotes_in_a_name_are_shown_as_they_are() -> None:
    """Plotly would show the five letters of `&quot;`, as a hospital's name on the way to its report did."""
    name = 'Children\'s & "North"'
    (line,) = curves_figure([Curve(name, (0,), (0.5,))], chance=None)["data"]
    assert line["name"] == 'Children\'s &amp; "North"'


def test_baselines_have_a_dot_for_each_split_and_a_mean() -> None:
    figure = baselines_figure([BaselineRow("a", (0.25, 0.75), 0.5, None), BaselineRow("b", (), None, None)])
    assert figure["data"][0]["x"] == [0.25, 0.75]
    assert figure["data"][-1]["x"] == [0.5, None]
