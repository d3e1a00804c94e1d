"""`wardround bench attacks`: the rows, on a cohort of a few patients."""

from __future__ import annotations

from typing import Any

from common.config.load import load_config
from simulations.benchmarks import attacks
from simulations.scenarios.simulate import Clock, prepare


def test_attacks_flip_bits_and_take_figures_down(tiny_overrides: list[str], quiet_watcher: Any) -> None:
    config = load_config([*tiny_overrides, *attacks.PIXELS])
    rows = {row.name: row.figures for row in attacks.rows_of(config, *prepare(config, Clock(quiet_watcher)))}
    names = [name + box for name in ("centre", "dhta", "hag") for box in ("", ", gray box")]
    assert set(rows) == {"unattacked", *names, "reports, unattacked", "reports"}
    assert rows["unattacked"]["flips"] == 0
    for name in (*names, "reports"):
        flips = rows[name]["flips"]
        assert flips is not None
        assert flips > 0
    for name in ("hag", "dhta"):
        clear, gray = rows[name]["flips"], rows[f"{name}, gray box"]["flips"]
        assert clear is not None
        assert gray is not None
        assert clear >= gray  # who knows the hash head flips no fewer bits
