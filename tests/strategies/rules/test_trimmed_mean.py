"""The trimmed mean against SciPy in float64, the bad sites that it bears, and the weights that it reports."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies import blocks
from tests.strategies.cohorts import aggregate, composition

EXTREMES = [1e30, -1e30, 3.4e38, 0.0]


@settings(deadline=None, max_examples=50)
@given(num_byzantine=st.integers(0, 4), more=st.integers(1, 5), num_values=st.integers(1, 30), seed=st.integers(0, 999))
def test_trimmed_mean_is_that_of_scipy(num_byzantine: int, more: int, num_values: int, seed: int) -> None:
    num_sites = 2 * num_byzantine + more
    updates_SP = np.random.default_rng(seed).normal(size=(num_sites, num_values)).astype(np.float32)
    share = (num_byzantine + 0.5) / num_sites  # SciPy cuts floor(share * S) at each end
    expected_P = scipy.stats.trim_mean(updates_SP.astype(np.float64), share, axis=0)
    found = aggregate("trimmed_mean", torch.from_numpy(updates_SP), num_byzantine)
    np.testing.assert_allclose(found.update_P.numpy(), expected_P, rtol=1e-4, atol=1e-6)


def test_more_values_than_one_real_block() -> None:
    num_values = blocks.BLOCK_VALUES["cpu"] + 11
    updates_SP = torch.randn(3, num_values, generator=torch.Generator().manual_seed(2))
    assert torch.equal(aggregate("trimmed_mean", updates_SP, 1).update_P, updates_SP.median(dim=0).values)


@settings(deadline=None, max_examples=50)
@given(num_byzantine=st.integers(1, 3), extremes=st.lists(st.sampled_from(EXTREMES), min_size=3, max_size=3))
def test_bad_sites_cannot_leave_the_range_of_the_good_ones(num_byzantine: int, extremes: list[float]) -> None:
    good_SP = torch.randn(2 * num_byzantine + 1, 6, generator=torch.Generator().manual_seed(3))
    bad_SP = torch.tensor(extremes[:num_byzantine])[:, None].expand(-1, 6)
    found = aggregate("trimmed_mean", torch.cat([bad_SP, good_SP]), num_byzantine)
    assert (found.update_P >= good_SP.amin(0)).all()
    assert (found.update_P <= good_SP.amax(0)).all()


def test_claimed_weights_are_not_trusted() -> None:
    updates_SP = torch.randn(5, 6, generator=torch.Generator().manual_seed(4))
    rule = composition("trimmed_mean", 1)
    claimed = rule.aggregate(updates_SP, torch.tensor([1e9, 1, 1, 1, 1]), rule.init())
    assert torch.equal(claimed.update_P, aggregate("trimmed_mean", updates_SP, 1).update_P)


def test_weights_count_the_coordinates_in_which_a_site_was_kept() -> None:
    """Four coordinates, three sites, one cut at each end: the middle one of each."""
    updates_SP = torch.tensor([[0.0, 0.0, 1.0, 9.0], [1.0, 1.0, 0.0, 2.0], [2.0, 2.0, 2.0, 1.0]])
    assert aggregate("trimmed_mean", updates_SP, 1).site_weights_S.tolist() == [0.25, 0.75, 0.0]


@pytest.mark.parametrize(("num_sites", "most"), [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2), (10, 4), (11, 5)])
def test_most_bad_sites_that_a_cohort_bears(num_sites: int, most: int) -> None:
    assert composition("trimmed_mean", 0).max_byzantine(num_sites) == most
