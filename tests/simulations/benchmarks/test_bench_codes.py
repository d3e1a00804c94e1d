"""`wardround bench codes`: the rows, on a cohort of a few patients."""

from __future__ import annotations

from typing import Any

import pytest

from common.config.load import load_config
from common.errors import ConfigError
from simulations.benchmarks import cli
from simulations.benchmarks.codes import PEERS, nested_rows, rows_of
from simulations.benchmarks.report import as_json, as_table
from simulations.scenarios.simulate import Clock, prepare


def test_rows_name_ours_and_every_peer_beside_the_float_bound(
    tiny_overrides: list[str], quiet_watcher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for peer in ("ucch", "djsrh"):
        monkeypatch.setattr(f"simulations.benchmarks.code_peers.{peer}.EPOCHS", 2)
    config = load_config([*tiny_overrides, "code.bit_width=64"])
    prepared = prepare(config, Clock(quiet_watcher))
    rows = rows_of(config, *prepared, 1.0)
    names = ["ours", "random projection", *PEERS]
    assert [row.name for row in rows] == ["embedding beside 64", *(f"{name} 64" for name in names)]
    for row in as_json("codes", rows)["rows"]:
        assert 0 < row["map"] <= 1
        assert 0 <= row["recall_at_10"] <= 1
        assert 0 < row["map_findings"] <= 1
        assert row["bits"] == (None if row["name"].startswith("embedding") else 64)
    monkeypatch.setattr("simulations.benchmarks.codes.BIT_WIDTHS", (48, 64))
    nested = nested_rows(*prepared, 1.0)
    assert [(row.name, row.figures["bits"]) for row in nested] == [("ours nested 48", 48), ("ours nested 64", 64)]
    assert {**nested[1].figures} == {**rows[1].figures}  # all 64 bits are the code itself
    table = as_table("codes", rows)
    assert [column.header for column in table.columns] == [
        "what",
        "seconds",
        "bits",
        "map",
        "recall_at_10",
        "map_findings",
    ]


def test_settings_go_with_codes_alone() -> None:
    with pytest.raises(ConfigError, match=r"data\.root=x: settings go with .* attacks, codes, unpaired alone"):
        cli.bench_command("encode", ["data.root=x"], as_object=False)
