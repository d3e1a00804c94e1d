"""Rows of a benchmark: the documented keys, null where nothing was measured."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from simulations.benchmarks import report
from simulations.benchmarks.report import Row, as_json, as_table, extra_mib, peak_mib

MEASURED = Row(name="fast", seconds=0.5, peak_mib=100.0, peer="slow", peer_seconds=2.0, bound_seconds=0.25)
BARE = Row(name="bare", seconds=0.5)
KEYS = {"name", "seconds", "peak_mib", "peer", "peer_seconds", "speedup", "bound_seconds"}


def test_row_speedup_is_the_peers_time_over_ours() -> None:
    assert MEASURED.speedup == 4.0
    assert BARE.speedup is None


def test_json_has_the_documented_keys_and_null_where_nothing_was_measured() -> None:
    found = json.loads(json.dumps(as_json("round", [MEASURED, BARE]), allow_nan=False))
    assert set(found) == {"bench", "machine", "versions", "rows"}
    assert found["bench"] == "round"
    assert [set(row) for row in found["rows"]] == [KEYS, KEYS]
    assert {key: found["rows"][1][key] for key in KEYS - {"name", "seconds"}} == dict.fromkeys(
        KEYS - {"name", "seconds"}
    )
    assert found["versions"]["flwr"] == "1.41.0"


def test_table_shows_each_row_and_leaves_what_was_not_measured_blank() -> None:
    table = as_table("round", [MEASURED, BARE])
    columns = {column.header: list(column.cells) for column in table.columns}
    assert columns["what"] == ["fast", "bare"]
    assert columns["/ bound"] == ["2.0x", ""]
    assert columns["peer"] == ["2.0000", ""]
    assert table.caption == "peer: slow"
    assert columns["speedup"] == ["4.0x", ""]


def test_table_says_whose_time_it_is_where_there_are_two_peers_and_fits_a_terminal() -> None:
    name = "arc+nnm+trimmed_mean 10x10M"
    rows = [
        Row(name=name, seconds=0.35, peak_mib=1049.0, peer=peer, peer_seconds=14.3, bound_seconds=0.0147)
        for peer in ("byzfl", "flwr")
    ]
    out = io.StringIO()
    Console(file=out, width=80).print(as_table("aggregation", rows))
    lines = [line.split() for line in out.getvalue().splitlines() if name in line]
    assert lines == [[*name.split(), "0.3500", "23.8x", "1049", "14.3000", peer, "40.9x"] for peer in ("byzfl", "flwr")]


def test_peak_memory_is_at_least_what_is_held_and_never_falls() -> None:
    before = peak_mib()
    if before is None:
        pytest.skip("this system does not tell a process its peak memory")
    block = np.ones(256 * 2**20, dtype=np.uint8)
    held = peak_mib()
    del block
    after = peak_mib()
    assert held is not None
    assert after is not None
    # The kernel counts in batches a thread, so that two readings of one peak differ by some pages.
    assert held >= max(before, 256) - 1
    assert after >= held - 1


def test_extra_memory_counts_what_an_action_takes_and_not_what_was_held() -> None:
    held = np.ones(128 * 2**20, dtype=np.uint8)
    nothing = extra_mib(lambda: None)
    if nothing is None:
        pytest.skip("this system does not let a process start its peak anew")
    small = extra_mib(lambda: np.ones(64 * 2**20, dtype=np.uint8).sum())
    large = extra_mib(lambda: np.ones(192 * 2**20, dtype=np.uint8).sum())
    again = extra_mib(lambda: None)
    assert held.all()
    assert small is not None
    assert large is not None
    assert again is not None
    assert nothing < 8
    assert 63 < small < 72
    assert 191 < large < 200
    assert again < 8  # the greater peak before it is forgotten


def test_extra_memory_is_none_where_the_system_does_not_start_the_peak_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(report, "RESET_PEAK", tmp_path / "missing" / "clear_refs")
    assert extra_mib(lambda: None) is None
