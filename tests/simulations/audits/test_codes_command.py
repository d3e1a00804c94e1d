"""`wardround audit codes` measures every width of a run, beside the embedding and random codes."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import wardround
from simulations.audits import codes
from simulations.audits.codes import EMBEDDING, RANDOM, TOLD
from tests.conftest import FinishedRun


def test_audit_codes_measures_every_width_and_its_control_is_at_chance(
    finished_run: FinishedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mean over traits of random codes: twelve areas of 390 studies each, within 0.05 of chance."""
    run = shutil.copytree(finished_run.folder, tmp_path / "run")
    monkeypatch.setattr(codes, "NUM_ASKED", 60)
    monkeypatch.setattr(sys, "argv", ["wardround", "audit", "codes", "--run", str(run), "--json"])
    with pytest.raises(SystemExit) as end:
        wardround.main()
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert end.value.code == 0
    for gallery in ("images", "reports"):
        rows = {row["of"]: row for row in told["revealed"] if row["gallery"] == gallery}
        assert list(rows) == ["8 bits", "16 bits", "32 bits", "48 bits", "64 bits", EMBEDDING, RANDOM]
        control = rows[RANDOM]
        areas = [read["area"] for read in control["read"]]
        assert abs(sum(areas) / len(areas) - 0.5) < 0.05
        assert {"sex", "age"} <= {read["trait"] for read in control["read"]}
        assert control["linkage"]["area_interval"]["low"] < 0.5 < control["linkage"]["area_interval"]["high"]
    over_sites = {(row["of"], row["told"]): row["linkage"] for row in told["over_sites"]}
    assert len(over_sites) == 6 * len(TOLD), "five widths and random codes"
    control = over_sites[RANDOM, "every distance"]["area_interval"]
    assert control["low"] < 0.5 < control["high"]
    assert [(row["askers"], row["limited"]) for row in told["learned"]] == [(1, True), (2, True), (8, True), (1, False)]
    assert {row["bits"] for row in told["flipped"]} == {48, 64}
    assert told["num_patients"] > 200
    assert (told["bit_width"], told["flipped"][-1]["epsilon"]) == (64, None)
