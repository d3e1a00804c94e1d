"""What every registered aggregation rule must hold, whatever it computes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import AggregationError, ConfigError
from strategies.interface import AGGREGATORS, Aggregator

BUILT = [(name, f) for name in AGGREGATORS.names for f in range(3) if f == 0 or name != "mean"]
every_rule = pytest.mark.parametrize(("name", "num_byzantine"), BUILT)
SIZES = st.tuples(st.integers(5, 9), st.integers(1, 40))


def _rule(name: str, num_byzantine: int) -> Aggregator:
    return AGGREGATORS.load(name)(num_byzantine=num_byzantine)


def _cohort(num_sites: int, num_values: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    updates_SP = torch.randn(num_sites, num_values, generator=generator)
    weights_S = torch.randint(1, 100, (num_sites,), generator=generator).float()
    return updates_SP, weights_S


@every_rule
@settings(deadline=None, max_examples=25)
@given(size=SIZES, seed=st.integers(0, 10**6))
def test_order_of_the_sites_does_not_matter(name: str, num_byzantine: int, size: tuple[int, int], seed: int) -> None:
    updates_SP, weights_S = _cohort(*size, seed)
    order_S = torch.randperm(size[0], generator=torch.Generator().manual_seed(seed))
    rule = _rule(name, num_byzantine)
    found = rule.aggregate(updates_SP, weights_S, rule.init())
    shuffled = rule.aggregate(updates_SP[order_S], weights_S[order_S], rule.init())
    torch.testing.assert_close(shuffled.update_P, found.update_P)
    torch.testing.assert_close(shuffled.site_weights_S, found.site_weights_S[order_S])


@every_rule
@settings(deadline=None, max_examples=25)
@given(size=SIZES, seed=st.integers(0, 10**6))
def test_result_is_deterministic_and_leaves_its_arguments(
    name: str, num_byzantine: int, size: tuple[int, int], seed: int
) -> None:
    updates_SP, weights_S = _cohort(*size, seed)
    kept_SP, kept_S = updates_SP.clone(), weights_S.clone()
    rule = _rule(name, num_byzantine)
    first, second = (rule.aggregate(updates_SP, weights_S, rule.init()) for _ in range(2))
    assert torch.equal(first.update_P, second.update_P)
    assert torch.equal(updates_SP, kept_SP)
    assert torch.equal(weights_S, kept_S)


@every_rule
@settings(deadline=None, max_examples=25)
@given(size=SIZES, seed=st.integers(0, 10**6))
def test_result_lies_between_the_updates_and_weights_sum_to_one(
    name: str, num_byzantine: int, size: tuple[int, int], seed: int
) -> None:
    updates_SP, weights_S = _cohort(*size, seed)
    rule = _rule(name, num_byzantine)
    found = rule.aggregate(updates_SP, weights_S, rule.init())
    assert (found.update_P.shape, found.update_P.dtype) == ((size[1],), torch.float32)
    assert (found.update_P <= updates_SP.amax(0) + 1e-5).all()
    assert (found.update_P >= updates_SP.amin(0) - 1e-5).all()
    assert found.site_weights_S.shape == (size[0],)
    assert found.site_weights_S.sum().item() == pytest.approx(1.0, abs=1e-5)
    assert (found.site_weights_S >= 0).all()


@every_rule
def test_equal_updates_give_that_update(name: str, num_byzantine: int) -> None:
    row_P = torch.tensor([1.5, -2.0, 0.0])
    rule = _rule(name, num_byzantine)
    found = rule.aggregate(row_P.expand(6, 3).contiguous(), torch.arange(1.0, 7.0), rule.init())
    torch.testing.assert_close(found.update_P, row_P)


@every_rule
def test_empty_cohort_is_refused(name: str, num_byzantine: int) -> None:
    rule = _rule(name, num_byzantine)
    with pytest.raises(AggregationError):
        rule.aggregate(torch.empty(0, 4), torch.empty(0), rule.init())


@every_rule
@pytest.mark.parametrize("num_sites", [1, 2, 3, 4, 9, 10])
def test_claimed_breakdown_point_is_below_a_half(name: str, num_byzantine: int, num_sites: int) -> None:
    assert 0 <= 2 * _rule(name, num_byzantine).max_byzantine(num_sites) < num_sites


def test_unknown_rule_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"aggregator\.name=median: unknown.*mean"):
        AGGREGATORS.load("median")
