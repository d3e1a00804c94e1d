"""The round that is timed is a real one, with every site in it."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.checkpoint import load_state
from simulations.benchmarks import round as bench
from simulations.benchmarks.noop import NUM_ARRAYS, STEP, build_noop_app, constant_arrays, zero_state

NUM_VALUES = 1003


@given(num_values=st.integers(min_value=NUM_ARRAYS, max_value=5000))
def test_constant_arrays_hold_exactly_the_asked_number_of_values(num_values: int) -> None:
    arrays = constant_arrays(num_values)
    assert len(arrays) == NUM_ARRAYS
    assert sum(array.size for array in arrays.values()) == num_values


def test_rounds_of_the_bench_are_real_rounds_with_every_site(tmp_path: Path) -> None:
    state = zero_state(NUM_VALUES)
    seconds = bench.time_rounds(partial(bench._in_process, num_workers=2), state, tmp_path, num_rounds=4)
    num_rounds = bench.NUM_WARM_UP + 4
    saved = load_state(tmp_path, config_digest=state.config_digest)
    assert 0 < seconds < 10
    assert saved.rounds_completed == num_rounds
    assert {site.rounds_joined for site in saved.sites.values()} == {num_rounds}
    assert len(saved.sites) == bench.NUM_SITES
    # Eight equal updates have themselves as their mean, so that each round adds one step to a model of zeros, and to
    # its first number as many as the round's.
    first, *rest = np.concatenate(list(saved.arrays["model"].values()))
    np.testing.assert_allclose(rest, num_rounds * STEP, rtol=1e-5)
    assert first == pytest.approx(num_rounds * (num_rounds + 1) / 2 * STEP)


def test_bench_refuses_to_time_a_round_without_all_its_sites(tmp_path: Path) -> None:
    other_size = build_noop_app(NUM_VALUES + 1)

    def with_other_sites(server: object, _: object) -> None:
        bench._in_process(server, other_size, num_workers=2)  # type: ignore[arg-type]

    with pytest.raises(RuntimeError, match=r"site-\d was dropped \(shape\)"):
        bench.time_rounds(with_other_sites, zero_state(NUM_VALUES), tmp_path, num_rounds=1)


def test_bounds_are_positive_and_grow_with_the_bytes(tmp_path: Path) -> None:
    assert 0 < bench.time_copies(10_000) < bench.time_copies(10_000_000)
    assert bench.time_flush(1000, tmp_path) > 0
    assert (tmp_path / "flushed").stat().st_size == 1000


def test_rows_of_a_size_name_the_peer_only_with_its_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(bench.NUM_ROUNDS, "tiny", 2)
    alone = bench.time_here(NUM_VALUES, label="tiny", peer_seconds=None)
    beside = bench.time_here(NUM_VALUES, label="tiny", peer_seconds=1e9)
    assert (alone[0].peer, alone[0].speedup) == (None, None)
    assert beside[0].peer == bench.PEER
    assert beside[0].speedup == pytest.approx(1e9 / beside[0].seconds)
    assert all(row.bound_seconds and row.seconds for row in [*alone, *beside])
