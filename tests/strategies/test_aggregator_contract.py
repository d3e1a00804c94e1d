"""What every aggregator must hold, whatever it computes: each rule alone, and each stage before some rules."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from common.errors import AggregationError
from strategies import blocks
from strategies.interface import RULES
from tests.strategies.cohorts import aggregate, cohort, composition
from tests.strategies.references import can_tie, unambiguous

STAGED = [
    *(f"nnm+{rule}" for rule in RULES.names),
    *(f"{stage}+{rule}" for stage in ("arc", "clipping") for rule in ("krum", "median", "geometric_median", "caf")),
    *(f"bucketing+{rule}" for rule in ("median", "krum", "centered_clipping", "smea")),
    "arc+nnm+trimmed_mean",
    "arc+nnm+median",
    "bucketing+nnm+trimmed_mean",
]
BUILT = [
    *((name, f) for name in RULES.names for f in (0, 1, 2) if f == 0 or name != "mean"),
    *((name, 2 if name.split("+")[-1] != "mean" else 0) for name in STAGED),
    *((name, 0) for name in ("nnm+krum", "arc+caf", "bucketing+median", "arc+nnm+trimmed_mean")),
]
every_aggregator = pytest.mark.parametrize(("name", "num_byzantine"), BUILT)

ORDERLESS = [(name, f) for name, f in BUILT if "bucketing" not in name]
"""A bucket holds sites by their position, so its result is the same only in distribution."""

CLIPS = ("arc+", "clipping+")
"""Stages that take norms about the origin: moving all updates changes what they do."""


def least_sites(name: str, num_byzantine: int) -> int:
    """Fewest sites by the literature: 2f + 1; 2f + 3 for the Krum family; 4f + 3 for Bulyan; buckets of two."""
    rule = name.split("+")[-1]
    points = {"krum": 2 * num_byzantine + 3, "multi_krum": 2 * num_byzantine + 3, "bulyan": 4 * num_byzantine + 3}
    least = points.get(rule, 2 * num_byzantine + 1)
    return 2 * least - 1 if "bucketing" in name else least


def _cohort(name: str, num_byzantine: int, *, seed: int, num_values: int = 30, more: int = 2) -> Tensor:
    size = least_sites(name, num_byzantine) + more, num_values
    return cohort("heterogeneous", "near", size, num_byzantine, seed=seed)


def _tie(name: str, updates_SP: Tensor, num_byzantine: int) -> bool:
    """Whether the last digit decides."""
    if "bucketing" in name or not can_tie(name):
        return False
    return unambiguous(name, updates_SP.double().numpy(), num_byzantine) is None


@cache
def _untied(name: str, num_byzantine: int) -> Tensor:
    """A cohort in which the last digit decides nothing."""
    cohorts = (_cohort(name, num_byzantine, seed=seed) for seed in range(20))
    return next(updates_SP for updates_SP in cohorts if not _tie(name, updates_SP, num_byzantine))


@pytest.fixture
def affinity() -> Iterator[set[int]]:
    """The cores of this process, given back afterwards."""
    cores = os.sched_getaffinity(0)
    yield cores
    os.sched_setaffinity(0, cores)


@pytest.mark.parametrize(("name", "num_byzantine"), ORDERLESS)
def test_order_of_the_sites_does_not_matter(name: str, num_byzantine: int) -> None:
    for seed in range(4):
        updates_SP = _cohort(name, num_byzantine, seed=seed, more=seed)
        if _tie(name, updates_SP, num_byzantine):
            continue
        order_S = torch.randperm(len(updates_SP), generator=torch.Generator().manual_seed(seed))
        weights_S = torch.arange(1.0, len(updates_SP) + 1)
        built = composition(name, num_byzantine)
        found = built.aggregate(updates_SP, weights_S, built.init())
        shuffled = built.aggregate(updates_SP[order_S], weights_S[order_S], built.init())
        torch.testing.assert_close(shuffled.update_P, found.update_P, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(shuffled.site_weights_S, found.site_weights_S[order_S], rtol=1e-3, atol=1e-3)


@every_aggregator
def test_result_is_deterministic_on_any_number_of_cores(name: str, num_byzantine: int, affinity: set[int]) -> None:
    updates_SP = _cohort(name, num_byzantine, seed=1, num_values=300)
    kept_SP = updates_SP.clone()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(blocks.BLOCK_VALUES, "cpu", 16)
        first, second = (aggregate(name, updates_SP, num_byzantine) for _ in range(2))
        os.sched_setaffinity(0, {min(affinity)})
        on_one_core = aggregate(name, updates_SP, num_byzantine)
    for other in (second, on_one_core):
        assert torch.equal(other.update_P, first.update_P)
        assert torch.equal(other.site_weights_S, first.site_weights_S)
    assert torch.equal(updates_SP, kept_SP)


@every_aggregator
@pytest.mark.parametrize("block_values", [1, 7])
def test_size_of_the_blocks_does_not_matter(
    name: str, num_byzantine: int, block_values: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    updates_SP = _untied(name, num_byzantine)
    whole = aggregate(name, updates_SP, num_byzantine)
    monkeypatch.setitem(blocks.BLOCK_VALUES, "cpu", block_values)
    in_blocks = aggregate(name, updates_SP, num_byzantine)
    torch.testing.assert_close(in_blocks.update_P, whole.update_P, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(in_blocks.site_weights_S, whole.site_weights_S, rtol=1e-3, atol=1e-3)


@every_aggregator
@settings(deadline=None, max_examples=4)
@given(seed=st.integers(0, 10**6), more=st.integers(0, 3), num_values=st.integers(1, 20))
def test_result_is_a_convex_mixture_of_the_updates(
    name: str, num_byzantine: int, seed: int, more: int, num_values: int
) -> None:
    updates_SP = _cohort(name, num_byzantine, seed=seed, num_values=num_values, more=more)
    weights_S = torch.randint(1, 100, (len(updates_SP),), generator=torch.Generator().manual_seed(seed)).float()
    kept_S = weights_S.clone()
    built = composition(name, num_byzantine)
    found = built.aggregate(updates_SP, weights_S, built.init())
    assert (found.update_P.shape, found.update_P.dtype) == ((num_values,), torch.float32)
    least_P, most_P = updates_SP.amin(0), updates_SP.amax(0)
    if name.startswith(CLIPS):  # shortened updates are nearer to the origin than any was
        least_P, most_P = least_P.clamp(max=0), most_P.clamp(min=0)
    rounding = 1e-5 * updates_SP.abs().max()
    assert (found.update_P >= least_P - rounding).all()
    assert (found.update_P <= most_P + rounding).all()
    assert found.site_weights_S.shape == (len(updates_SP),)
    assert found.site_weights_S.sum().item() == pytest.approx(1.0, abs=1e-5)
    assert (found.site_weights_S >= 0).all()
    assert torch.equal(weights_S, kept_S)


@pytest.mark.parametrize(("name", "num_byzantine"), [(n, f) for n, f in BUILT if not n.startswith(CLIPS)])
def test_moving_all_updates_moves_the_result(name: str, num_byzantine: int) -> None:
    updates_SP, shift_P = _untied(name, num_byzantine), torch.linspace(-3, 3, 30)
    found = aggregate(name, updates_SP, num_byzantine)
    moved = aggregate(name, updates_SP + shift_P, num_byzantine)
    torch.testing.assert_close(moved.update_P, found.update_P + shift_P, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["arc+median", "clipping+mean"])
def test_stages_that_clip_are_about_the_origin(name: str) -> None:
    """The control of the test above."""
    num_byzantine = 0 if name.endswith("mean") else 2
    updates_SP = cohort("iid", "far", (9, 30), 2, seed=3)
    moved = aggregate(name, updates_SP + 10, num_byzantine).update_P - 10
    assert (moved - aggregate(name, updates_SP, num_byzantine).update_P).abs().max() > 0.05


@every_aggregator
@pytest.mark.parametrize("factor", [-3.0, 1e-25, 1e20])
def test_scaling_all_updates_scales_the_result(name: str, num_byzantine: int, factor: float) -> None:
    updates_SP = _untied(name, num_byzantine)
    found = aggregate(name, updates_SP, num_byzantine)
    scaled = aggregate(name, updates_SP * factor, num_byzantine)
    torch.testing.assert_close(scaled.update_P / factor, found.update_P, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(scaled.site_weights_S, found.site_weights_S, rtol=1e-3, atol=1e-3)


@every_aggregator
def test_equal_updates_give_that_update(name: str, num_byzantine: int) -> None:
    row_P = torch.tensor([1.5, -2.0, 0.0])
    num_sites = least_sites(name, num_byzantine)
    found = aggregate(name, row_P.expand(num_sites, 3).contiguous(), num_byzantine)
    torch.testing.assert_close(found.update_P, row_P)
    zeros = aggregate(name, torch.zeros(num_sites, 3), num_byzantine)
    assert not zeros.update_P.any()
    assert zeros.site_weights_S.sum().item() == pytest.approx(1.0, abs=1e-5)


@every_aggregator
def test_empty_cohort_is_refused(name: str, num_byzantine: int) -> None:
    with pytest.raises(AggregationError):
        aggregate(name, torch.empty(0, 4), num_byzantine)


@every_aggregator
def test_cohort_too_small_is_refused_with_the_number_needed(name: str, num_byzantine: int) -> None:
    least = least_sites(name, num_byzantine)
    aggregate(name, torch.randn(least, 3, generator=torch.Generator().manual_seed(0)), num_byzantine)
    for num_sites in range(1, least):
        with pytest.raises(AggregationError, match=f"needs at least {least} admitted updates, there are {num_sites}$"):
            aggregate(name, torch.zeros(num_sites, 3), num_byzantine)


@every_aggregator
@pytest.mark.parametrize("num_sites", [1, 2, 3, 4, 9, 10, 11, 13])
def test_claimed_breakdown_point_is_the_greatest_that_is_not_refused(
    name: str, num_byzantine: int, num_sites: int
) -> None:
    most = composition(name, num_byzantine).max_byzantine(num_sites)
    borne = [f for f in range(num_sites) if least_sites(name, f) <= num_sites]
    if name.endswith("mean") and not name.endswith("trimmed_mean"):
        borne = borne[:1]
    assert most == (max(borne) if borne else -1)
    assert 2 * most < num_sites


@every_aggregator
def test_resumed_state_goes_on_bit_by_bit(name: str, num_byzantine: int) -> None:
    built = composition(name, num_byzantine)
    rounds = [_cohort(name, num_byzantine, seed=seed) for seed in range(4)]
    weights_S = torch.ones(len(rounds[0]))
    state, results = built.init(), []
    for updates_SP in rounds:
        found = built.aggregate(updates_SP, weights_S, state)
        state = found.state
        results.append(found.update_P.clone())
    resumed = built.init()
    for updates_SP, expected_P in zip(rounds, results, strict=True):
        # What a checkpoint does: arrays out, arrays in, and the objects of the run are new.
        assert all(isinstance(part, Tensor) for part in resumed.values())
        stored = {key: torch.from_numpy(part.numpy().copy()) for key, part in resumed.items()}
        kept = {key: part.clone() for key, part in stored.items()}
        found = composition(name, num_byzantine).aggregate(updates_SP, weights_S, stored)
        assert torch.equal(found.update_P, expected_P)
        assert all(torch.equal(stored[key], part) for key, part in kept.items())
        resumed = found.state
    assert resumed.keys() == state.keys()
    assert all(torch.equal(resumed[key], state[key]) for key in state)
