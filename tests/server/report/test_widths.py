"""What the report says of codes by width."""

from __future__ import annotations

from typing import Any

import pytest

from server.report.render import render
from server.report.summary import validate
from server.report.widths import shape, widths_figure, widths_of


def width(bits: int, recall: float, *, drawn: bool = True) -> dict[str, Any]:
    tried = {
        "radius": 0.1,
        "recall_at_10": recall,
        "attacked_recall_at_10": recall - 0.1,
        "smoothed_recall_at_10": recall - 0.02,
        "certified_recall_at_10": recall - 0.2,
        "certified_first_ten": 0.4,
    }
    look_up = {"radius": bits // 4, "recall": 0.52, "precision": 0.03}
    return {"bits": bits, "recall_at_10": recall, "map": 0.1, "look_up": look_up, "drawn": tried if drawn else None}


@pytest.fixture
def with_widths(summary: dict[str, Any]) -> dict[str, Any]:
    """Out of order, and the middle one finds most."""
    return summary | {"pooled": summary["pooled"] | {"widths": [width(256, 0.32), width(64, 0.3), width(128, 0.35)]}}


def test_widths_are_told_in_rising_order(with_widths: dict[str, Any]) -> None:
    validate(with_widths)
    found = widths_of(with_widths)
    assert [one["bits"] for one in found] == [64, 128, 256]
    lines = widths_figure(found)["data"]
    assert [line["name"] for line in lines] == ["as they are", "attacked", "by votes", "certified"]
    assert lines[3]["y"] == pytest.approx([0.1, 0.15, 0.12])
    assert "128 bits find most (35.0%)" in shape(found)


def test_page_shows_the_curve_and_its_table(with_widths: dict[str, Any], rounds: list[dict[str, Any]]) -> None:
    page = render(with_widths, rounds)
    assert "How many bits?" in page
    assert '<th scope="row" class="n">64</th>' in page
    assert "First ten that surely stay" in page


def test_page_without_attack_says_how_to_get_one(summary: dict[str, Any], rounds: list[dict[str, Any]]) -> None:
    clean = summary | {"pooled": summary["pooled"] | {"widths": [width(64, 0.3, drawn=False)]}}
    validate(clean)
    page = render(clean, rounds)
    assert "certificate.deviation" in page
    assert "surely stay" not in page
    assert [line["name"] for line in widths_figure(widths_of(clean))["data"]] == ["all images"]


@pytest.mark.parametrize("pooled", [None, {"widths": []}, {}])
def test_nothing_is_said_where_nobody_asked(
    summary: dict[str, Any], rounds: list[dict[str, Any]], pooled: dict[str, Any] | None
) -> None:
    other = summary | {"pooled": None if pooled is None else summary["pooled"] | pooled}
    assert widths_of(other) == []
    assert "How many bits?" not in render(other, rounds)
