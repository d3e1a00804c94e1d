"""Weights from public bands: in proportion up to the cap, and no claim buys more than it allows."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from random import Random
from statistics import median, median_high

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.config.load import load_config
from common.config.schema import MitigationConfig
from common.errors import AdmissionError
from common.privacy.bands import MOST_PATIENTS, band_of, middle_of
from server.weights import CAP, factors_of, scales_of, weights_of
from strategies.composition import build_aggregator

LARGEST = band_of(MOST_PATIENTS - 1)
BANDS = st.integers(1, MOST_PATIENTS - 1).map(band_of)


def shares(bands: list[str]) -> list[float]:
    weights_S = weights_of(bands).double()
    return (weights_S / weights_S.sum()).tolist()


def test_bands_within_the_cap_weigh_their_middles() -> None:
    assert weights_of(["16-31", "32-63", "16-31", "32-63"]).tolist() == [24, 48, 24, 48]


def test_larger_band_weighs_the_cap_times_the_median() -> None:
    assert weights_of(["16-31", "32-63", "16-31", "64-127"]).tolist() == [24, 48, 24, 72]


@pytest.mark.parametrize("others", range(1, 30))
def test_largest_claim_among_equals_has_the_stated_share(others: int) -> None:
    share = shares(["64-127"] * others + [LARGEST])[-1]
    assert share == pytest.approx(CAP / (others + CAP))
    # The control: by its claim alone the site would have everything.
    claimed = middle_of(LARGEST) / (middle_of(LARGEST) + others * middle_of("64-127"))
    assert claimed > 0.9999


@given(others=st.lists(BANDS, min_size=1, max_size=30))
def test_largest_claim_has_at_most_the_stated_share_of_any_cohort(others: list[str]) -> None:
    assert shares([*others, LARGEST])[-1] <= CAP / ((len(others) + 1) // 2 + CAP) + 1e-9


@given(st.data(), st.lists(BANDS, min_size=1, max_size=20))
def test_liars_up_to_half_the_cohort_weigh_at_most_the_cap_of_an_honest_site(
    data: st.DataObject, honest: list[str]
) -> None:
    liars = data.draw(st.lists(BANDS | st.just(LARGEST), max_size=len(honest)))
    most = CAP * max(map(middle_of, honest))
    assert all(weight <= most * (1 + 1e-6) for weight in weights_of([*honest, *liars]).tolist())


@given(st.lists(BANDS, min_size=1, max_size=30), st.randoms())
def test_weights_are_positive_follow_the_bands_and_stay_below_the_cap(bands: list[str], random: Random) -> None:
    weights = dict(zip(bands, weights_of(bands).tolist(), strict=True))
    ordered = sorted(bands, key=middle_of)
    assert all(0 < weights[low] <= weights[high] for low, high in pairwise(ordered))
    assert max(weights.values()) <= CAP * median(map(middle_of, bands)) * (1 + 1e-6)
    shuffled = random.sample(bands, len(bands))
    assert dict(zip(shuffled, weights_of(shuffled).tolist(), strict=True)) == weights


def test_weights_are_finite_float32_where_every_site_claims_the_most() -> None:
    weights_S = weights_of([LARGEST] * 100)
    assert weights_S.dtype == torch.float32
    assert weights_S.isfinite().all()
    assert weights_S.sum().isfinite()


def test_text_that_is_no_band_is_refused() -> None:
    with pytest.raises(AdmissionError, match=r"^band$"):
        weights_of(["16-31", "1073741824"])


def test_weights_of_nobody_are_empty() -> None:
    assert weights_of([]).tolist() == []


def test_scales_shorten_what_is_noisier_than_the_median_to_its_noise() -> None:
    noises = [1 / 48, 1 / 24, 1 / 192, 1 / 96, 1 / 768]
    scales = scales_of(noises).tolist()
    assert scales == pytest.approx([48, 24, 96, 96, 96])
    assert scales_of(noises[:4]).tolist() == pytest.approx([48, 24, 48, 48]), "of four, the noisier middle one"


def test_scales_are_alike_where_a_site_has_no_noise() -> None:
    assert scales_of([0.0, 0.1]).tolist() == [1, 1]
    assert scales_of([]).tolist() == []


@given(others=st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=30), claim=st.floats(1e-6, 1e3))
def test_no_claim_is_scaled_by_more_than_the_site_in_the_middle(others: list[float], claim: float) -> None:
    scales = scales_of([*others, claim]).tolist()
    assert scales[-1] <= 1 / median_high([*others, claim]) * (1 + 1e-6)
    assert max(scales) == sorted(scales)[(len(scales) - 1) // 2]


# Hospitals that are served worse


def mitigation(power: float, **recalls: float) -> MitigationConfig:
    config = load_config([f"mitigation.site_power={power}"]).mitigation
    return replace(config, site_recall=dict(recalls))


def test_without_figures_all_count_by_their_size_alone() -> None:
    assert factors_of(["a", "b"], mitigation(2.0)) is None
    assert factors_of(["a", "b"], mitigation(2.0, c=0.4)) is None


def test_factors_are_those_of_q_ffl() -> None:
    """Gradients of F^(q+1) / (q+1): each site's own by F^q, F the share that is not found, here by autograd."""
    recalls, power = {"a": 0.2, "b": 0.5, "c": 0.6}, 2.0
    loss = torch.tensor([1 - recall for recall in recalls.values()], requires_grad=True)
    (loss ** (power + 1) / (power + 1)).sum().backward()  # type: ignore[no-untyped-call]
    found = torch.tensor(factors_of(list(recalls), mitigation(power, **recalls)))
    assert loss.grad is not None
    torch.testing.assert_close(found / found.sum(), loss.grad / loss.grad.sum())


def test_no_site_gains_more_than_the_cap_by_its_figure() -> None:
    found = factors_of(["a", "b", "c"], mitigation(10.0, a=0.0, b=0.9, c=0.9))
    assert found is not None
    assert found[0] == pytest.approx(CAP * found[1])
    weights = weights_of(["16-31"] * 3, found).tolist()
    assert weights[0] == pytest.approx(CAP * weights[1])


def test_site_without_a_figure_counts_as_the_mean_and_nobody_is_silenced() -> None:
    found = factors_of(["a", "b", "new"], mitigation(1.0, a=0.2, b=0.6))
    assert found == pytest.approx([0.8 / 0.6, 0.4 / 0.6, 1.0])
    perfect = factors_of(["a", "b"], mitigation(2.0, a=1.0, b=1.0))
    assert perfect == pytest.approx([1.0, 1.0])
    assert all(factor > 0 for factor in factors_of(["a", "b", "c"], mitigation(2.0, a=1.0, b=1.0, c=0.1)) or [0])


@pytest.mark.parametrize("rule", ["mean", "nnm+trimmed_mean", "median"])
def test_factors_move_what_every_rule_makes(rule: str) -> None:
    """Two kinds of sites, each of one mind: the site that counts for more is nearer, whatever the rule sees."""
    config = load_config([f"aggregator.name={rule}", "aggregator.num_byzantine=0"])
    aggregator = build_aggregator(config.aggregator, seed=0)
    updates = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    factors = factors_of(["a", "b", "c"], mitigation(2.0, a=0.5, b=0.5, c=0.2))
    weights, scales = weights_of(["16-31"] * 3, factors), torch.tensor(factors)
    found = aggregator.aggregate(updates, weights, aggregator.init(), scales_S=scales).update_P
    plain = aggregator.aggregate(updates, weights_of(["16-31"] * 3), aggregator.init()).update_P
    assert found[1] / found.sum() >= plain[1] / plain.sum()
    if rule == "mean":
        torch.testing.assert_close(found, torch.tensor([2 * 0.25, 0.64]) / (2 * 0.25 + 0.64))
