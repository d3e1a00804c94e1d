"""What the heat maps hold; how they look is for the eye."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from server.report.heat_maps import MOST_LABELLED, backdoor_figure, kept_figure, weights_figure
from server.report.reputation import WeightMap, weight_map
from server.report.robustness import HOLDS, backdoor_rows, grids


def opacity_at(scale: list[list[Any]], value: float) -> tuple[str, float]:
    """Hue and opacity that a linear colour scale gives a value."""
    for (low, first), (high, second) in pairwise(scale):
        if low <= value <= high:
            (*hue, start), (*_, end) = (colour.removeprefix("rgba(")[:-1].split(",") for colour in (first, second))
            share = (value - low) / (high - low)
            return ",".join(hue), float(start) + share * (float(end) - float(start))
    raise AssertionError(value)


def test_cells_hold_the_kept_shares_and_their_text(grid_summary: dict[str, Any]) -> None:
    grid = grids(grid_summary)[1]
    heat = kept_figure(grid)["data"][0]
    assert heat["z"] == [list(row) for row in grid.kept]
    assert heat["text"][0] == ["100", "82", "61", "35", "100", "4", "93", "99"]
    axes = kept_figure(grid)["layout"]
    assert axes["yaxis"]["ticktext"][-1] == "ARC + NNM + trimmed mean"
    assert axes["xaxis"]["ticktext"][:2] == ["No attack", "ALIE"]


def test_what_holds_has_another_hue_and_less_is_deeper(grid_summary: dict[str, Any]) -> None:
    scale = kept_figure(grids(grid_summary)[0])["data"][0]["colorscale"]
    hues = {value: opacity_at(scale, value) for value in (0.0, 0.5, 0.89, HOLDS + 1e-9, 1.0)}
    assert hues[0.0][0] == hues[0.5][0] == hues[0.89][0] != hues[HOLDS + 1e-9][0] == hues[1.0][0]
    assert hues[0.0][1] > hues[0.5][1] > hues[0.89][1] > 0


def test_refusal_is_a_cross_with_its_reason(grid_summary: dict[str, Any]) -> None:
    for cell in grid_summary["robustness"]["cells"]:
        if (cell["rule"], cell["num_byzantine"], cell["attack"]) == ("krum", 2, "nan"):
            cell |= {"kept": None, "refusal": "too <few>"}
    heat, crosses = kept_figure(grids(grid_summary)[1])["data"]
    assert heat["z"][2][4] is None
    assert (crosses["x"], crosses["y"]) == ([4], [2])
    assert crosses["hovertext"] == ["Krum, NaN: too &lt;few&gt;"]


def test_backdoor_has_a_column_a_grid(grid_summary: dict[str, Any]) -> None:
    figure = backdoor_figure(backdoor_rows(grid_summary), grids(grid_summary))
    assert figure["data"][0]["z"][0] == [0.96] * 4
    assert len(figure["layout"]["xaxis"]["ticktext"]) == 4


def test_weights_are_drawn_and_drops_crossed(summary: dict[str, Any], rounds: list[dict[str, Any]]) -> None:
    found = weight_map(summary, rounds)
    assert found is not None
    heat, crosses = weights_figure(found)["data"]
    assert heat["z"][0][:3] == [0.2, 0.2, 0.25]
    assert sorted(zip(crosses["x"], crosses["y"], strict=True)) == [(2, 2), (3, 2), (8, 2)]
    assert crosses["hovertext"][2] == "St. Brigid, 9: answered after the deadline"


@pytest.mark.parametrize(("rounds", "template"), [(MOST_LABELLED, "%{text}"), (MOST_LABELLED + 1, "")])
def test_many_rounds_show_their_numbers_on_hovering_only(rounds: int, template: str) -> None:
    row = (0.5,) * rounds
    figure = weights_figure(WeightMap(("a", "b"), tuple(range(1, rounds + 1)), (row, row), ((None,) * rounds,) * 2))
    assert figure["data"][0]["texttemplate"] == template
    assert len(figure["layout"]["xaxis"]["tickvals"]) <= MOST_LABELLED


def test_two_sites_of_one_name_stay_two_rows_and_names_bring_no_markup() -> None:
    hostile = '<a href="http://example.org">x</a>'
    figure = weights_figure(WeightMap((hostile, hostile), (1,), ((0.4,), (0.6,)), ((None,), (None,))))
    assert figure["data"][0]["z"] == [[0.4], [0.6]]
    assert len(figure["layout"]["yaxis"]["ticktext"]) == 2
    assert "<a" not in json.dumps(figure)
