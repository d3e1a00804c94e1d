"""Hospitals of very different sizes in one simulation: the small ones take part or are left out."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import wardround
from server.report.summary import validate
from simulations.cli import _tables

SIZES = {"tiny": 4, "village": 8, "town": 33, "city": 60, "centre": 118}
REGIONS = ("head", "thorax", "abdomen")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest folder as a department exports it: ages with a decimal, several regions, a study a patient."""
    root = tmp_path_factory.mktemp("uneven")
    generator = np.random.default_rng(0)
    with (root / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("study_id", "patient_id", "image_path", "report", "sex", "age", "site"))
        for site, size in {**SIZES, "public": 60}.items():
            for number in range(size):
                name, region = f"{site}-{number}", REGIONS[number % 3]
                PIL.Image.fromarray(generator.integers(0, 255, (32, 32)).astype(np.uint8)).save(root / f"{name}.png")
                report = f"{region} study, finding {number % 7}, size {number % 11} mm"
                writer.writerow((name, name, f"{name}.png", report, "FM"[number % 2], "65.0", site))
    return root


def test_small_hospitals_train_unmeasured_or_are_left_out_and_it_is_said(
    folder: Path, tiny_run: Any, tmp_path: Path
) -> None:
    found = tiny_run(
        tmp_path / "run", "data.adapter=manifest", f"data.root={folder}", "data.public_fraction=0.2", "seed=1"
    )
    summary = found.summary
    validate(summary)
    assert summary["status"] == "completed"
    assert summary["data"]["left_out"] == [{"site": "tiny", "patients_band": "1-10"}]
    assert summary["sites"].keys() == SIZES.keys() - {"tiny"}
    assert all(site["rounds_joined"] == 2 for site in summary["sites"].values())
    measured = {name: site["measured"] for name, site in summary["sites"].items()}
    assert measured == {"village": False, "town": False, "city": True, "centre": True}
    assert summary["sites"]["village"]["metrics"] is None
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    (table,) = _tables(summary)
    for text in (report, str(table.caption)):
        assert "fewer than 11 patients are held out there: town, village." in text
        assert "Left out, for fewer patients than data.least_patients asks for: tiny." in text
    # Where chance finds a report more often than not, the lift over it is shown.
    chances = {name: summary["sites"][name]["chance_recall_at_10"] for name in ("city", "centre")}
    assert chances["centre"] < 0.5 < chances["city"]
    assert report.count(f"over {100 * chances['city']:.0f}%") >= 2
    assert f"over {100 * chances['centre']:.0f}%" not in report


def test_cut_that_cannot_be_is_found_before_an_image_is_decoded(
    folder: Path, tiny_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("client.data.view_files.decode_picture", lambda *_, **__: pytest.fail("decoded"))
    (folder / "splits.csv").write_text("split_group,one\n" + "".join(f"city-{n},train\n" for n in range(60)))
    with pytest.raises(Exception, match=r"data\.split: no public studies"):
        tiny_run(tmp_path / "run", "data.adapter=manifest", f"data.root={folder}", "data.split=one")


def test_site_named_like_markup_ends_no_run(tmp_path: Path, tiny_overrides: list[str]) -> None:
    names = ("[/x]", "[bold]b", "\x1b[31mred")
    generator = np.random.default_rng(0)
    with (tmp_path / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("study_id", "patient_id", "image_path", "report", "site"))
        for position, site in enumerate((*names, "public")):
            for number in range(30):
                name = f"{position}-{number}"
                PIL.Image.fromarray(generator.integers(0, 255, (32, 32)).astype(np.uint8)).save(
                    tmp_path / f"{name}.png"
                )
                writer.writerow((name, name, f"{name}.png", f"report {number}", site))
    overrides = [*tiny_overrides, "privacy.epsilon=null", "federation.rounds=1", "data.adapter=manifest"]
    script = "import wardround; wardround.main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "simulate", *overrides, f"data.root={tmp_path}", "--out", str(tmp_path / "run")],
        cwd=Path(wardround.__file__).parent,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": "150"},
    )
    assert done.returncode == 0, done.stderr
    for shown in ("[/x]", "[bold]b", "\\x1b[31mred"):
        assert shown in done.stdout
    assert "\x1b[31m" not in done.stdout + done.stderr
