"""Rules that choose among the updates: ties, spent states, sets too many to try.

Shapes: S sites, P values.
"""

from __future__ import annotations

from itertools import islice, permutations

import pytest
import torch

from common.errors import AggregationError
from tests.strategies.attacked import kappa_about
from tests.strategies.cohorts import aggregate


@pytest.mark.parametrize("far", [None, 1e4, 1e25])
@pytest.mark.parametrize("size", [1e-25, 1.0, 1e10])
def test_mda_decides_between_equally_wide_sets_by_all_distances(far: float | None, size: float) -> None:
    """Whichever of six goes, two are ten apart; least is left over where one of the two on the left goes."""
    left, right = [-5.0, 0.0], [5.0, 0.0]
    updates_SP = torch.tensor([left, left, right, right, right, [0.0, 1.0]]) * size
    if far is not None:
        updates_SP = torch.cat([updates_SP, torch.full((1, 2), far * max(size, 1))])
    expected_P = torch.tensor([2.0, 0.2])
    for order in islice(permutations(range(len(updates_SP))), 0, None, 97 if far is None else 701):
        found_P = aggregate("mda", updates_SP[list(order)], 1 if far is None else 2).update_P
        torch.testing.assert_close(found_P / size, expected_P, rtol=1e-4, atol=1e-5)


def test_caf_judges_no_state_in_which_the_attackers_may_be_all_that_is_left() -> None:
    """Honest sites symmetric about their mean lose everything in one step, and two attackers beside it nothing."""
    noise_HP = 1e-3 * torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    honest_HP = noise_HP + torch.eye(5)[0] * torch.tensor([1.0, 1, 1, 1, -1, -1, -1, -1])[:, None]
    updates_SP = torch.cat([honest_HP, 2 * torch.eye(5)[1].expand(2, -1)])
    assert kappa_about(aggregate("caf", updates_SP, 2).update_P, honest_HP) < 0.2


@pytest.mark.parametrize("name", ["caf", "nnm+caf", "arc+caf"])
def test_caf_survives_updates_that_lose_all_weight_at_once(name: str) -> None:
    updates_SP = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    torch.testing.assert_close(aggregate(name, updates_SP, 1).update_P.isfinite(), torch.tensor([True, True]))
    torch.testing.assert_close(aggregate("caf", updates_SP, 1).update_P, torch.zeros(2), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["mda", "smea"])
def test_too_many_sets_are_refused_with_another_rule_named(name: str) -> None:
    with pytest.raises(
        AggregationError, match=r"40 updates hold \d+ sets of 30, too many to try; .*aggregator\.name=caf"
    ):
        aggregate(name, torch.zeros(40, 2), 10)


def test_krum_answers_with_an_update_and_multi_krum_with_a_mean_of_them() -> None:
    updates_SP = torch.randn(9, 12, generator=torch.Generator().manual_seed(1))
    krum, multi_krum = aggregate("krum", updates_SP, 2), aggregate("multi_krum", updates_SP, 2)
    chosen = int(krum.site_weights_S.argmax())
    assert krum.site_weights_S[chosen] == 1
    assert torch.equal(krum.update_P, updates_SP[chosen])
    assert multi_krum.site_weights_S[chosen] > 0
    assert sorted(multi_krum.site_weights_S.tolist()) == pytest.approx([0.0] * 2 + [1 / 7] * 7)


@pytest.mark.parametrize("name", ["krum", "multi_krum", "mda", "smea", "caf"])
def test_bad_sites_far_off_get_no_weight(name: str) -> None:
    updates_SP = torch.randn(11, 12, generator=torch.Generator().manual_seed(2))
    updates_SP[:2] += 1e3
    assert not aggregate(name, updates_SP, 2).site_weights_S[:2].any()
    assert aggregate("trimmed_mean", updates_SP, 0).site_weights_S[:2].all()  # the control
