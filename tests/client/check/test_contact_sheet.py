"""The contact sheet: a few decoded studies on one private picture, the same for the same folder."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from client.check.contact_sheet import CAPTION, FLAT, MARGIN, NUM_COLUMNS, NUM_STUDIES, TILE, ContactSheet
from common.errors import ConfigError
from common.types import Study, StudyRecord


def study(number: int, *, grey: int | None = None) -> Study:
    """A ramp, or one grey."""
    ramp = np.linspace(0, 255, 512 * 256).reshape(512, 256).astype(np.uint8)
    image = ramp if grey is None else np.full((512, 256), grey, np.uint8)
    return Study(StudyRecord(f"study \u00e4{number:03}", f"p{number}", f"report {number}"), image)


def sheet_of(path: Path, studies: list[Study]) -> PillowImage.Image:
    sheet = ContactSheet(path)
    for one in studies:
        sheet.add(one)
    sheet.write()
    with PillowImage.open(path) as picture:
        return picture.convert("RGB")


def tile(sheet: PillowImage.Image, number: int) -> np.ndarray:
    left = MARGIN + number % NUM_COLUMNS * (TILE + MARGIN)
    top = MARGIN + number // NUM_COLUMNS * (TILE + CAPTION + MARGIN)
    return np.asarray(sheet)[top : top + TILE, left : left + TILE]


def test_sheet_shows_twelve_whatever_their_order_and_is_its_owner_s(tmp_path: Path) -> None:
    studies = [study(number) for number in range(40)]
    sheet = sheet_of(tmp_path / "a.png", studies)
    assert np.array_equal(sheet, sheet_of(tmp_path / "b.png", studies[::-1]))
    assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == 0o600
    assert sheet.size == (NUM_COLUMNS * (TILE + MARGIN) + MARGIN, 3 * (TILE + CAPTION + MARGIN) + MARGIN)
    for number in range(NUM_STUDIES):
        shown = tile(sheet, number)[1:-1, TILE // 4 + 2 : -TILE // 4 - 2, 0]
        assert shown[0].mean() < 5
        assert shown[-1].mean() > 250


def test_few_studies_make_a_smaller_sheet_and_a_flat_one_is_marked(tmp_path: Path) -> None:
    sheet = sheet_of(tmp_path / "few.PNG", [study(0), study(1, grey=7)])
    assert sheet.size[1] == TILE + CAPTION + 2 * MARGIN
    frame = tuple(int(FLAT[start : start + 2], 16) for start in (1, 3, 5))
    assert [tuple(tile(sheet, number)[0, 0]) == frame for number in (0, 1)] == [False, True]


@pytest.mark.parametrize("name", ["sheet.jpg", "sheet", "nowhere/sheet.png"])
def test_name_that_cannot_be_is_refused_before_anything_is_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="--pictures"):
        ContactSheet(tmp_path / name)
