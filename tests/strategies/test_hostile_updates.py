"""Bad sites that send what no hospital would, and honest ones that float32 can hardly tell apart.

Shapes: S sites, P values.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from common.errors import AggregationError
from strategies.interface import RULES
from tests.strategies.cohorts import aggregate, composition, honest_updates
from tests.strategies.references import reference

BEARING = [name for name in RULES.names if name != "mean"]
COMPOSITIONS = [
    *BEARING,
    *(f"nnm+{rule}" for rule in BEARING),
    *(f"arc+{rule}" for rule in BEARING),
    "clipping+median",
    "bucketing+median",
    "arc+nnm+trimmed_mean",
    "arc+nnm+caf",
]
ABOUT_NOTHING = [name for name in COMPOSITIONS if not name.startswith(("arc", "clipping", "bucketing"))]
"""Those that neither look at the origin nor draw."""

every_bearing = pytest.mark.parametrize("name", COMPOSITIONS)
F = 2
NOT_FINITE = [math.nan, math.inf, -math.inf]
HUGE = [1e30, 3e38, -3e38, 1e19, 1e8]


def _honest(name: str, *, seed: int = 0, num_values: int = 200) -> Tensor:
    """As many honest updates as a rule that bears two bad ones needs in all, so that some may be dropped."""
    rule = composition(name, 0).rule
    least = 2 * int(rule.least_points(F)) - 1 if "bucketing" in name else int(rule.least_points(F))
    generator = torch.Generator().manual_seed(seed)
    return honest_updates("iid", max(least, 10), num_values, generator) + 0.5


def _spread(honest_HP: Tensor) -> float:
    """Root of the mean squared distance of the honest updates to their mean."""
    return float((honest_HP - honest_HP.mean(0)).square().sum(1).mean().sqrt())


def _off(update_P: Tensor, honest_HP: Tensor) -> float:
    """How far a result is from the honest mean, in spreads; kappa is the square."""
    return float((update_P.double() - honest_HP.double().mean(0)).norm()) / _spread(honest_HP)


def _with_bad(honest_HP: Tensor, *values: float) -> Tensor:
    bad_SP = torch.tensor(values)[:, None].expand(-1, honest_HP.shape[1])
    return torch.cat([honest_HP[:3], bad_SP, honest_HP[3:]])


@every_bearing
@pytest.mark.parametrize("values", [(v, v) for v in HUGE] + [(3e38, -3e38), (1e30, 1.0), (0.0, 1e20)])
def test_huge_updates_of_bad_sites_leave_the_result_among_the_honest(name: str, values: tuple[float, ...]) -> None:
    honest_HP = _honest(name)
    found = aggregate(name, _with_bad(honest_HP, *values), F)
    assert found.update_P.isfinite().all()
    # kappa of any of these is below 36 at this size; a bad value that came through would be off by 1e7 spreads.
    assert _off(found.update_P, honest_HP) < 3
    assert found.site_weights_S.isfinite().all()
    assert found.site_weights_S.sum().item() == pytest.approx(1.0, abs=1e-5)


@every_bearing
@pytest.mark.parametrize("value", HUGE[:3])
@pytest.mark.parametrize("hidden", [1e-25, 1e12])
def test_huge_updates_hide_nothing_of_small_or_large_honest_ones(name: str, value: float, hidden: float) -> None:
    honest_HP = _honest(name) * hidden
    found = aggregate(name, _with_bad(honest_HP, value, -value), F)
    assert _off(found.update_P.double() / hidden, honest_HP.double() / hidden) < 3


@every_bearing
@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("whole_row", [True, False])
def test_update_that_is_not_finite_counts_as_one_bad_site(name: str, value: float, whole_row: bool) -> None:  # noqa: FBT001
    honest_HP = _honest(name)
    updates_SP = torch.cat([honest_HP[:3], honest_HP[:1].clone(), honest_HP[3:]])
    updates_SP[3] = value if whole_row else updates_SP[3].index_fill(0, torch.tensor([7]), value)
    finite_SP = torch.cat([updates_SP[:3], updates_SP[4:]])
    found, expected = aggregate(name, updates_SP, F), aggregate(name, finite_SP, F - 1)
    assert torch.equal(found.update_P, expected.update_P)
    assert found.site_weights_S[3] == 0
    torch.testing.assert_close(found.site_weights_S[torch.arange(len(updates_SP)) != 3], expected.site_weights_S)


@every_bearing
@pytest.mark.parametrize("num_broken", [1, 2, 3])
def test_more_broken_updates_than_bad_sites_are_refused(name: str, num_broken: int) -> None:
    honest_HP = _honest(name)
    updates_SP = torch.cat([torch.full((num_broken, honest_HP.shape[1]), math.nan), honest_HP])
    if num_broken <= F:
        assert aggregate(name, updates_SP, F).update_P.isfinite().all()
        return
    with pytest.raises(AggregationError, match=rf"3 of {len(updates_SP)} .*not finite.*num_byzantine=2"):
        aggregate(name, updates_SP, F)


def test_mean_refuses_what_is_not_finite() -> None:
    with pytest.raises(AggregationError, match="1 of 2"):
        aggregate("mean", torch.tensor([[1.0], [math.nan]]), 0)


@pytest.mark.parametrize("name", ["median", "trimmed_mean", "krum", "geometric_median", "caf", "mda", "smea"])
def test_a_majority_of_bad_sites_steers_every_rule(name: str) -> None:
    """The control: what the tests above see as harmless is harmful from more sites than are borne."""
    honest_HP = _honest(name)[:4]
    bad_SP = torch.full((7, honest_HP.shape[1]), 1e6)
    assert _off(aggregate(name, torch.cat([honest_HP, bad_SP]), F).update_P, honest_HP) > 1e3


def test_one_bad_site_more_than_borne_moves_the_trimmed_mean() -> None:
    updates_SP = torch.cat([torch.full((2, 6), 1e30), torch.zeros(3, 6)])
    assert aggregate("trimmed_mean", updates_SP, 1).update_P.max() > 1e29
    assert not aggregate("trimmed_mean", updates_SP, 2).update_P.any()


@pytest.mark.parametrize("name", [name for name in ABOUT_NOTHING if not name.endswith("bulyan")])
@pytest.mark.parametrize(("offset", "spread"), [(1e6, 1e-3), (1e6, 1.0), (100.0, 1e-3), (1.0, 1e-5)])
def test_common_offset_hides_no_difference_that_float32_holds(name: str, offset: float, spread: float) -> None:
    """The reference gets the rounded input; cdist of ByzFL's kind is off by a factor of three here.

    Bulyan is left out: two values as far on either side of the median, common on float32's grid, are a tie.
    """
    honest_HP = _honest(name, num_values=150) * spread
    bad_SP = honest_HP[:F] - 3 * spread
    updates_SP = torch.cat([honest_HP, bad_SP]) + offset
    exact_SP = updates_SP.double().numpy()
    found_P = aggregate(name, updates_SP, F).update_P.double().numpy()
    expected_P = reference(name, exact_SP, F)
    # The result is a sum in float32 of up to ten values near the offset: a few last places of it.
    last_place = float(np.spacing(np.float32(offset)))
    assert np.abs(found_P - expected_P).max() <= 4 * last_place + 1e-4 * exact_SP.std(0).max()


@pytest.mark.parametrize("name", ABOUT_NOTHING)
def test_common_offset_beside_a_huge_bad_site(name: str) -> None:
    honest_HP = _honest(name) * 1e-3
    updates_SP = torch.cat([torch.full((1, 200), 3e38), honest_HP + 100, torch.full((1, 200), -1e25)])
    found = aggregate(name, updates_SP, F)
    assert _off(found.update_P, updates_SP[1:-1]) < 3
