"""The rules that are timed are all there, and a peer's function is one of the same rule."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from common.config.schema import AggregatorConfig
from simulations.benchmarks import aggregation as bench
from simulations.benchmarks.aggregation_peers import BYZFL, FLOWER, Peer, peers_of
from simulations.benchmarks.cli import BENCHES
from simulations.benchmarks.report import as_json
from strategies.composition import build_aggregator
from strategies.interface import RULES, STAGES

NUM_VALUES = 50_000
FEW = {"mean": 0, "median": 2, "nnm+trimmed_mean": 2}
SMALL = bench.Workload(num_sites=10, num_values=NUM_VALUES, rules=FEW)


@pytest.fixture
def without_byzfl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, BYZFL, None)


def ours(name: str, num_byzantine: int, updates_SP: Tensor) -> Tensor:
    aggregator = build_aggregator(AggregatorConfig(name=name, num_byzantine=num_byzantine), seed=0)
    return aggregator.aggregate(updates_SP, torch.ones(len(updates_SP)), aggregator.init()).update_P


def peer_of(library: str, name: str, num_byzantine: int) -> Peer:
    (peer,) = (peer for peer in peers_of(name, num_sites=10, num_byzantine=num_byzantine) if peer.library == library)
    return peer


def test_bench_aggregation_is_registered() -> None:
    assert BENCHES.load("aggregation") is bench.bench_aggregation


def test_bench_measures_every_rule_and_every_stage_on_ten_sites_and_two_compositions_on_forty() -> None:
    ten, forty = bench.WORKLOADS
    assert (ten.size, forty.size) == ("10x10M", "40x10M")
    assert set(RULES.names) <= set(ten.rules)
    assert set(STAGES.names) <= {part for name in ten.rules for part in name.split("+")}
    assert {"median", "nnm+trimmed_mean"} <= set(forty.rules)


def test_every_composition_of_the_bench_bears_its_bad_sites() -> None:
    for workload in bench.WORKLOADS:
        for name, num_byzantine in workload.rules.items():
            aggregator = build_aggregator(AggregatorConfig(name=name, num_byzantine=num_byzantine), seed=0)
            assert aggregator.max_byzantine(workload.num_sites) >= num_byzantine, name


@pytest.mark.usefixtures("without_byzfl")
def test_rows_have_the_figures_and_name_a_peer_only_with_its_time() -> None:
    rows = bench.measure(SMALL)
    assert [(row.name, row.peer) for row in rows] == [
        ("mean 10x0.05M", FLOWER),
        ("median 10x0.05M", FLOWER),
        ("nnm+trimmed_mean 10x0.05M", None),
    ]
    for row in rows:
        assert 0 < row.seconds < 10
        assert row.bound_seconds is not None
        assert 0 < row.bound_seconds < row.seconds
        assert row.peak_mib is None or 0 <= row.peak_mib < 64
        assert (row.peer is None) == (row.peer_seconds is None) == (row.speedup is None)
        assert row.peer_seconds is None or row.peer_seconds > 0
    assert json.loads(json.dumps(as_json("aggregation", rows), allow_nan=False))["rows"][2]["peer"] is None


def test_bench_measures_each_workload_in_a_fresh_process() -> None:
    smallest = replace(SMALL, num_values=1000, rules={"nnm+median": 2})
    rows = bench.bench_aggregation((smallest, replace(smallest, num_sites=7)))
    assert {row.name for row in rows} == {"nnm+median 10x0.001M", "nnm+median 7x0.001M"}


@pytest.mark.usefixtures("without_byzfl")
def test_memory_above_the_updates_holds_the_result_and_no_copy_of_the_updates() -> None:
    num_values = 5_000_000
    (row,) = bench.measure_rule("nnm+median", 2, bench.drawn_updates(10, num_values))
    if row.peak_mib is None:
        pytest.skip("this system does not let a process start its peak anew")
    result_mib = 4 * num_values / 2**20
    assert result_mib - 1 < row.peak_mib < 5 * result_mib


@pytest.mark.parametrize(
    ("name", "num_byzantine"),
    [("mean", 0), ("median", 2), ("trimmed_mean", 2), ("krum", 2), ("multi_krum", 2), ("bulyan", 1)],
)
def test_flowers_function_is_the_same_rule(name: str, num_byzantine: int) -> None:
    updates_SP = bench.drawn_updates(10, NUM_VALUES)
    before = updates_SP.clone()
    theirs = peer_of(FLOWER, name, num_byzantine).call(updates_SP)
    torch.testing.assert_close(torch.as_tensor(theirs), ours(name, num_byzantine, updates_SP), rtol=1e-5, atol=1e-5)
    assert torch.equal(updates_SP, before)


@pytest.mark.parametrize(
    ("name", "num_byzantine"),
    [
        ("mean", 0),
        ("median", 2),
        ("trimmed_mean", 2),
        ("mda", 2),
        ("nnm+median", 2),
        ("nnm+trimmed_mean", 2),
        ("arc+nnm+trimmed_mean", 2),
    ],
)
def test_byzfls_function_is_the_same_rule(name: str, num_byzantine: int) -> None:
    pytest.importorskip(BYZFL, reason="needs byzfl")
    updates_SP = bench.drawn_updates(10, NUM_VALUES)
    theirs = peer_of(BYZFL, name, num_byzantine).call(updates_SP)
    torch.testing.assert_close(theirs, ours(name, num_byzantine, updates_SP), rtol=1e-5, atol=1e-5)


def test_byzfls_functions_leave_the_updates_as_they_are() -> None:
    pytest.importorskip(BYZFL, reason="needs byzfl")
    updates_SP = bench.drawn_updates(10, 1000)
    before = updates_SP.clone()
    measured = []
    for name, num_byzantine in bench.RULES.items():
        for peer in peers_of(name, num_sites=10, num_byzantine=num_byzantine):
            peer.call(updates_SP)
            assert torch.equal(updates_SP, before), name
            measured.append((name, peer.library))
    assert {name for name, library in measured if library == BYZFL} == bench.RULES.keys() - {"bulyan", "smea"}


def test_peer_that_needs_more_than_its_share_of_memory_is_left_out() -> None:
    pages = bench.os.sysconf("SC_PHYS_PAGES") * bench.os.sysconf("SC_PAGE_SIZE")
    updates_SP = torch.empty(1, 1_000_000)
    most = bench.LARGEST_SHARE_OF_MEMORY * pages / updates_SP.nbytes
    assert bench.fits(Peer("some", len, 0.99 * most), updates_SP)
    assert not bench.fits(Peer("some", len, 1.01 * most), updates_SP)


def test_mixing_of_forty_sites_would_take_a_peer_fifty_gigabytes() -> None:
    pytest.importorskip(BYZFL, reason="needs byzfl")
    (peer,) = peers_of("nnm+trimmed_mean", num_sites=40, num_byzantine=2)
    assert 50e9 < peer.num_copies * 40 * 10_000_000 * 4 < 80e9


def test_bound_grows_with_the_bytes() -> None:
    assert 0 < bench.time_read(torch.ones(2, 100_000)) < bench.time_read(torch.ones(10, 5_000_000))


def test_calls_take_turns_and_a_slow_one_takes_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "ENOUGH_SECONDS", 0.03)
    done: list[str] = []

    def slow() -> None:
        done.append("slow")
        time.sleep(0.02)

    fast_seconds, slow_seconds = bench.medians_in_turns([lambda: done.append("fast"), slow])
    assert fast_seconds < 0.02 <= slow_seconds
    assert done == ["fast", "slow"] * 2 + ["fast"] * (bench.MOST_REPEATS - 2)
