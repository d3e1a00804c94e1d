"""`wardround audit bias` runs every audit on a config's cohort, counterfactual images included."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import wardround


def test_audit_bias_finds_what_was_planted_in_image_and_edit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = ("num_sites=1", "patients_per_site=90", "public_patients=4", "image_size=32", "site_shift=0", "seed=4")
    overrides = [f"data.synthetic.{key}" for key in (*keys, "planted=[marker]")]
    monkeypatch.setattr(sys, "argv", ["wardround", "audit", "bias", *overrides, f"encoder.cache={tmp_path}", "--json"])
    with pytest.raises(SystemExit) as end:
        wardround.main()
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert end.value.code == 0
    assert [audit["name"] for audit in told["audits"]] == [
        "language",
        "attributes",
        "mediation",
        "swaps",
        "regions",
        "image edits",
    ]
    found = {
        finding["subject"] for audit in told["audits"] for finding in audit["findings"] if finding["verdict"] == "found"
    }
    assert {"race, with marker", "the marker is added"} <= found
    assert told["title"] == "a synthetic cohort with planted marker"
