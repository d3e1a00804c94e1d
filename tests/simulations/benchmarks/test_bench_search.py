"""The rows of `bench search` at a small size, and that what it measures is what it says."""

from __future__ import annotations

import pytest

from simulations.benchmarks import search as bench
from simulations.benchmarks.cli import BENCHES


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "in_a_fresh_process", lambda action: action())
    monkeypatch.setattr(bench, "SIZES", (4000, 8000))
    monkeypatch.setattr(bench, "_NUM_LISTS", 16)
    monkeypatch.setattr(bench, "_NUM_PROBES", 16)


def test_bench_search_has_every_size_and_width_beside_faiss_and_the_bound() -> None:
    assert BENCHES.load("search") is bench.bench_search
    rows = {row.name: row for row in bench.bench_search()}
    for size in ("4,000", "8,000"):
        for bits in (64, 128, 256):
            row = rows.pop(f"query, {size} x {bits}")
            assert (row.peer, row.peer_seconds is not None, row.bound_seconds is not None) == ("faiss", True, True)
        parts = [name for name in rows if name.startswith(f"index, {size} codes")]
        assert len(parts) == 8, "write, open, add and withdraw, by the wall clock and by the processor's"
    assert all(row.seconds > 0 for row in rows.values())
    assert rows["masked, 4,000 x 128"].peer == "faiss"


def test_index_that_probes_every_list_misses_nothing() -> None:
    assert bench.clusters_row(4000, 128).peer == "IVF, recall 1.000"
