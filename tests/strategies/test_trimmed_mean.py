"""The trimmed mean against SciPy in float64, its blocks, and the bad sites that it bears."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from common.errors import AggregationError
from strategies import trimmed_mean
from strategies.mean import Mean
from strategies.trimmed_mean import TrimmedMean

EXTREMES = [1e30, -1e30, 3.4e38, 0.0]


def _aggregate(updates_SP: Tensor, *, num_byzantine: int) -> trimmed_mean.Aggregate:
    return TrimmedMean(num_byzantine=num_byzantine).aggregate(updates_SP, torch.ones(len(updates_SP)), {})


@settings(deadline=None)
@given(num_byzantine=st.integers(0, 4), more=st.integers(1, 5), num_values=st.integers(1, 30), seed=st.integers(0, 999))
def test_trimmed_mean_is_that_of_scipy(num_byzantine: int, more: int, num_values: int, seed: int) -> None:
    num_sites = 2 * num_byzantine + more
    updates_SP = np.random.default_rng(seed).normal(size=(num_sites, num_values)).astype(np.float32)
    share = (num_byzantine + 0.5) / num_sites  # SciPy cuts floor(share * S) at each end
    expected_P = scipy.stats.trim_mean(updates_SP.astype(np.float64), share, axis=0)
    found = _aggregate(torch.from_numpy(updates_SP), num_byzantine=num_byzantine)
    np.testing.assert_allclose(found.update_P.numpy(), expected_P, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("block_values", [1, 7, 35, 36, 10**6])
@pytest.mark.parametrize("num_values", [1, 5, 36])
def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch, block_values: int, num_values: int) -> None:
    updates_SP = torch.randn(7, num_values, generator=torch.Generator().manual_seed(1))
    whole = _aggregate(updates_SP, num_byzantine=2)
    monkeypatch.setattr(trimmed_mean, "BLOCK_VALUES", block_values)
    in_blocks = _aggregate(updates_SP, num_byzantine=2)
    assert torch.equal(in_blocks.update_P, whole.update_P)
    torch.testing.assert_close(in_blocks.site_weights_S, whole.site_weights_S)


def test_more_values_than_one_real_block() -> None:
    num_values = trimmed_mean.BLOCK_VALUES // 3 + 11
    updates_SP = torch.randn(3, num_values, generator=torch.Generator().manual_seed(2))
    assert torch.equal(_aggregate(updates_SP, num_byzantine=1).update_P, updates_SP.median(dim=0).values)


@settings(deadline=None)
@given(num_byzantine=st.integers(1, 3), extremes=st.lists(st.sampled_from(EXTREMES), min_size=3, max_size=3))
def test_bad_sites_cannot_leave_the_range_of_the_good_ones(num_byzantine: int, extremes: list[float]) -> None:
    good_SP = torch.randn(2 * num_byzantine + 1, 6, generator=torch.Generator().manual_seed(3))
    bad_SP = torch.tensor(extremes[:num_byzantine])[:, None].expand(-1, 6)
    found = _aggregate(torch.cat([bad_SP, good_SP]), num_byzantine=num_byzantine)
    assert (found.update_P >= good_SP.amin(0)).all()
    assert (found.update_P <= good_SP.amax(0)).all()


def test_one_bad_site_moves_the_mean_at_will() -> None:
    """The control: the rule without trimming fails where the trimmed one holds."""
    updates_SP = torch.cat([torch.full((1, 6), 1e30), torch.zeros(4, 6)])
    assert (Mean(num_byzantine=0).aggregate(updates_SP, torch.ones(5), {}).update_P > 1e29).all()
    assert not _aggregate(updates_SP, num_byzantine=1).update_P.any()


def test_one_bad_site_more_than_it_bears_moves_it() -> None:
    """The other control: the breakdown point is f, and no more is claimed."""
    updates_SP = torch.cat([torch.full((2, 6), 1e30), torch.zeros(3, 6)])
    assert _aggregate(updates_SP, num_byzantine=1).update_P.max() > 1e29
    assert not _aggregate(updates_SP, num_byzantine=2).update_P.any()


def test_claimed_weights_are_not_trusted() -> None:
    updates_SP = torch.randn(5, 6, generator=torch.Generator().manual_seed(4))
    rule = TrimmedMean(num_byzantine=1)
    claimed = rule.aggregate(updates_SP, torch.tensor([1e9, 1, 1, 1, 1]), {})
    assert torch.equal(claimed.update_P, _aggregate(updates_SP, num_byzantine=1).update_P)


def test_weights_count_the_coordinates_in_which_a_site_was_kept() -> None:
    """Four coordinates, three sites, one cut at each end: the middle one of each."""
    updates_SP = torch.tensor([[0.0, 0.0, 1.0, 9.0], [1.0, 1.0, 0.0, 2.0], [2.0, 2.0, 2.0, 1.0]])
    assert _aggregate(updates_SP, num_byzantine=1).site_weights_S.tolist() == [0.25, 0.75, 0.0]


@pytest.mark.parametrize(("num_sites", "num_byzantine"), [(0, 0), (2, 1), (4, 2), (1, 3)])
def test_cohort_too_small_is_refused_with_the_number_needed(num_sites: int, num_byzantine: int) -> None:
    needed = f"at least {2 * num_byzantine + 1} admitted updates, there are {num_sites}"
    with pytest.raises(AggregationError, match=needed):
        _aggregate(torch.zeros(num_sites, 3), num_byzantine=num_byzantine)


@pytest.mark.parametrize(("num_sites", "most"), [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2), (10, 4), (11, 5)])
def test_most_bad_sites_that_a_cohort_bears(num_sites: int, most: int) -> None:
    assert TrimmedMean(num_byzantine=0).max_byzantine(num_sites) == most
    _aggregate(torch.zeros(num_sites, 2), num_byzantine=most)
    with pytest.raises(AggregationError):
        _aggregate(torch.zeros(num_sites, 2), num_byzantine=most + 1)
