"""The weighted mean against sums in float64, and its refusal of bad sites."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import ConfigError
from tests.strategies.cohorts import aggregate, composition


@settings(deadline=None)
@given(num_sites=st.integers(1, 12), num_values=st.integers(1, 30), seed=st.integers(0, 10**6))
def test_mean_is_the_weighted_mean(num_sites: int, num_values: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    updates_SP = generator.normal(size=(num_sites, num_values)).astype(np.float32)
    weights_S = generator.integers(1, 1000, num_sites).astype(np.float32)
    mean = composition("mean", 0)
    found = mean.aggregate(torch.from_numpy(updates_SP), torch.from_numpy(weights_S), mean.init())
    expected_P = np.average(updates_SP.astype(np.float64), axis=0, weights=weights_S)
    np.testing.assert_allclose(found.update_P.numpy(), expected_P, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.site_weights_S.numpy(), weights_S / weights_S.astype(float).sum(), rtol=1e-5)


@pytest.mark.parametrize("name", ["mean", "nnm+mean", "arc+nnm+mean"])
def test_mean_that_should_bear_bad_sites_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"aggregator\.num_byzantine=1: .*set it to 0, or use aggregator\.name=nnm"):
        composition(name, 1)


def test_mean_claims_no_breakdown_point() -> None:
    assert [composition("mean", 0).max_byzantine(num_sites) for num_sites in (1, 10, 99)] == [0, 0, 0]


def test_one_bad_site_moves_the_mean_at_will() -> None:
    """The control: the rule that bears none fails where the others hold."""
    updates_SP = torch.cat([torch.full((1, 6), 1e30), torch.zeros(4, 6)])
    assert (aggregate("mean", updates_SP, 0).update_P > 1e29).all()
    assert not aggregate("trimmed_mean", updates_SP, 1).update_P.any()
