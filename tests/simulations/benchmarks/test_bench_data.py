"""The store that the benchmark makes is one that a worker opens, and its rows say what was asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.store.arrays import StoredArray
from simulations.benchmarks import data as bench
from simulations.benchmarks.cli import BENCHES
from simulations.benchmarks.data_store import NUM_PUBLIC, make_store

NUM_STUDIES = 600


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "in_a_fresh_process", lambda action: action())
    monkeypatch.setattr(bench, "EXPECTED_PIXEL_STUDIES", 4)
    monkeypatch.setattr(bench, "PIXEL_STEPS", 1)
    monkeypatch.setattr(bench, "usable_cores", lambda: 1)
    monkeypatch.setattr(bench, "IMAGE_SIZE", 32)
    small = ["encoder.width=16", "encoder.num_heads=2", "encoder.image_depth=1", "encoder.report_depth=1"]
    monkeypatch.setattr(bench, "PIXELS", ("encoder.trainable=all", "encoder.image_size=32", *small))


def test_bench_data_is_registered() -> None:
    assert BENCHES.load("data") is bench.bench_data


@pytest.mark.parametrize("kind", ["heads", "pixels"])
def test_store_of_the_bench_is_opened_as_any_and_takes_no_room(tmp_path: Path, kind: str) -> None:
    config = bench.config_of(kind, NUM_STUDIES)
    make_store(tmp_path, config, bench.shapes_of(kind), num_studies=NUM_STUDIES)
    prepared = bench._prepared(tmp_path, config)
    assert (len(prepared.records), len(prepared.anchors.features.images)) == (NUM_STUDIES, NUM_PUBLIC)
    assert prepared.texts([0])[0].startswith(f"{NUM_PUBLIC} FINDINGS")
    (images,) = tmp_path.rglob("*.images.npy")
    assert images.stat().st_blocks * 512 < images.stat().st_size / 2


def test_rows_of_a_store_tell_time_memory_and_reading() -> None:
    rows = {row.name.split(",")[0]: row for row in bench.store_rows(NUM_STUDIES)}
    assert list(rows) == ["made", "open", "heads step", "heads reading", "pixels step", "pixels reading"]
    assert all(row.seconds > 0 for row in rows.values())
    for kind in ("heads", "pixels"):
        assert rows[f"{kind} reading"].bound_seconds == rows[f"{kind} step"].seconds
        assert rows[f"{kind} reading"].seconds < rows[f"{kind} step"].seconds
    assert bench.look_row(10).name == "a look at 10 files"


def test_reads_are_timed_in_the_block_alone() -> None:
    real = StoredArray.read
    with bench.timed_reads() as seconds:
        assert StoredArray.read is not real
    assert StoredArray.read is real
    assert not seconds
