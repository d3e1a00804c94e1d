"""Contrast of the page's colours (WCAG 2.2: 1.4.3 for text, 1.4.11 for graphics), in light, dark and print."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from server.report import heat_maps, plots

STYLE = (Path(plots.__file__).parent / "style.css").read_text(encoding="utf-8")
PALETTES = [
    dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", block)) for block in re.findall(r":root \{([^}]*)\}", STYLE)
]
HEAT_SHARE = 0.62


def channels(colour: str) -> list[float]:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    return [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]


def luminance(rgb: list[float]) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: list[float], second: list[float]) -> float:
    dark, light = sorted([luminance(first), luminance(second)])
    return (light + 0.05) / (dark + 0.05)


def test_contrast_knows_black_on_white() -> None:
    assert contrast(channels("#000"), channels("#ffffff")) == pytest.approx(21)
    assert contrast(channels("#777777"), channels("#ffffff")) == pytest.approx(4.48, abs=0.01)


def test_there_are_three_palettes() -> None:
    assert len(PALETTES) == 3
    assert all({"page", "raised", "ink", "soft", "accent", "grave", "heat-colour"} <= set(p) for p in PALETTES)


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize("text", ["ink", "soft", "accent", "grave"])
@pytest.mark.parametrize("ground", ["page", "raised"])
def test_text_can_be_read(palette: dict[str, str], text: str, ground: str) -> None:
    assert contrast(channels(palette[text]), channels(palette[ground])) >= 4.5


@pytest.mark.parametrize("palette", PALETTES)
def test_text_can_be_read_on_the_deepest_heat(palette: dict[str, str]) -> None:
    assert f"* {HEAT_SHARE}".replace("0.", ".") in STYLE
    heat, page = channels(palette["heat-colour"]), channels(palette["page"])
    deepest = [HEAT_SHARE * a + (1 - HEAT_SHARE) * b for a, b in zip(heat, page, strict=True)]
    assert contrast(channels(palette["ink"]), deepest) >= 4.5


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize("colour", [heat_maps.ALARM, heat_maps.CALM])
def test_text_can_be_read_on_the_deepest_cell_of_a_heat_map(palette: dict[str, str], colour: str) -> None:
    pairs = zip(channels(colour), channels(palette["page"]), strict=True)
    deepest = [heat_maps.DEEPEST * a + (1 - heat_maps.DEEPEST) * b for a, b in pairs]
    assert contrast(channels(palette["ink"]), deepest) >= 4.5


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize("colour", plots.SERIES_COLOURS)
def test_lines_can_be_seen(palette: dict[str, str], colour: str) -> None:
    assert contrast(channels(colour), channels(palette["page"])) >= 3
