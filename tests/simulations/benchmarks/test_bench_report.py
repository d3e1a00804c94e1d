"""Rows of a benchmark: the documented keys, null where nothing was measured."""

import json

import numpy as np
import pytest

from simulations.benchmarks.report import Row, as_json, as_table, peak_mib

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
    assert columns["bound"] == ["0.2500", ""]
    assert table.caption == "peer: slow"
    assert columns["speedup"] == ["4.0x", ""]


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
