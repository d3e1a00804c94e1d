"""`wardround bench attacks`: the rows, on a cohort of a few patients."""

from __future__ import annotations

from typing import Any

import pytest

from common.config.load import load_config
from simulations.benchmarks import attacks
from simulations.measurement import victim
from simulations.scenarios.simulate import Clock, prepare


def test_every_attack_flips_bits(
    tiny_overrides: list[str], quiet_watcher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attacks, "MOST_QUERIES", 8)
    monkeypatch.setattr(victim, "STEPS", 4)
    config = load_config([*tiny_overrides, *attacks.PIXELS])
    rows = {row.name: row.figures for row in attacks.rows_of(config, *prepare(config, Clock(quiet_watcher)))}
    names = [name + box for name in ("across", "centre", "dhta", "hag") for box in ("", ", gray box")]
    assert set(rows) == {"unattacked", *names, "reports, unattacked", "reports", "reports, towards"}
    assert rows["unattacked"]["flips"] == rows["reports, unattacked"]["flips"] == 0
    for name in (*names, "reports", "reports, towards"):
        flips = rows[name]["flips"]
        assert flips is not None
        assert flips > 0
    for name in names:
        assert 0 < (rows[name]["moved"] or 0) <= 1
        assert 0 < (rows[name]["ssim"] or 0) < 1
    assert rows["unattacked"]["ssim"] == 1
