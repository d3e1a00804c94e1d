"""Figures are kept cell by cell and gone on with; the page shows every attack and its table, and holds no script."""

from __future__ import annotations

import html
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import wardround
from common.config.load import config_digest, load_config
from common.errors import CheckpointError
from simulations.audits.privacy.pipeline import PRODUCTION
from simulations.audits.privacy.strength import OF_CODES, Cell, Figure, Strength, Strengths, cells_of
from simulations.audits.privacy.strength_kept import STRENGTH_FILE, KeptStrengths
from simulations.audits.privacy.strength_page import ASKED, render
from tests.simulations.audits.privacy.conftest import SMALL

CONFIG = load_config([], scenario="audit")


def made_up(cell: Cell) -> Strength:
    attacks = ASKED if cell.bit_width == CONFIG.code.bit_width else OF_CODES
    area = 0.9 if cell.epsilon is None else 0.5 + 0.01 * cell.epsilon
    figures = [Figure(attack=attack, area=area, low=area - 0.05, high=area + 0.05) for attack in attacks]
    if cell.epsilon is not None:
        figures[0] = replace(figures[0], allowed=0.95)
    return Strength(cell=cell, figures=tuple(figures))


def test_cells_are_every_epsilon_noise_and_width_once() -> None:
    cells = cells_of(CONFIG)
    assert len(cells) == len(set(cells)) == 5 + 4 + 2 * 5
    assert {cell.bit_width for cell in cells} == {64, 128, 256}
    assert {cell.epsilon for cell in cells if cell.noise == "shared"} == {1.0, 2.0, 4.0, 8.0}


def test_kept_cells_are_read_back_and_damaged_or_foreign_ones_refused(tmp_path: Path) -> None:
    path = tmp_path / STRENGTH_FILE
    kept = KeptStrengths(path, "a")
    for cell in cells_of(CONFIG)[:3]:
        kept.add(made_up(cell))
    assert KeptStrengths(path, "a").found == kept.found
    with pytest.raises(CheckpointError, match="another config"):
        KeptStrengths(path, "b")
    path.write_text(path.read_text()[:-20])
    with pytest.raises(CheckpointError, match="damaged"):
        KeptStrengths(path, "a")


def test_page_shows_every_attack_and_no_script() -> None:
    strengths = [made_up(cell) for cell in cells_of(CONFIG)]
    page = render(strengths, bit_width=CONFIG.code.bit_width, config_digest="0" * 64)
    assert all(question in html.unescape(page) for question in ASKED.values())
    assert page.count("<svg") == len(ASKED) + len(OF_CODES)
    assert "Without privacy the attack is right in 90% (85% to 95%); at epsilon 1 the attack is right in 51%" in page
    assert "epsilon 8, shared noise, 64 bits" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_command_goes_on_with_what_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All cells are kept already: nothing is measured, and the page is written."""
    kept = KeptStrengths(tmp_path / STRENGTH_FILE, config_digest(CONFIG))
    for cell in cells_of(CONFIG):
        kept.add(made_up(cell))
    monkeypatch.setattr(sys, "argv", ["wardround", "audit", "strength", "--out", str(tmp_path), "--json"])
    with pytest.raises(SystemExit) as end:
        wardround.main()
    assert end.value.code == 0
    assert len(json.loads(capsys.readouterr().out)["cells"]) == 19
    assert "How strong attacks are" in (tmp_path / "strength.html").read_text()


@pytest.mark.slow
def test_a_cell_holds_every_attack(tmp_path: Path) -> None:
    config = load_config([*SMALL, f"encoder.cache={tmp_path}"], scenario="audit")
    measured = Strengths(PRODUCTION, config).measure(Cell(epsilon=None, noise="own", bit_width=config.code.bit_width))
    assert {figure.attack for figure in measured.figures} == set(ASKED)
    assert all(figure.low <= figure.area <= figure.high for figure in measured.figures)
