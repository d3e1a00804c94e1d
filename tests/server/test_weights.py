"""Weights from public bands: in proportion up to the cap, and no claim buys more than it allows."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from statistics import median, median_high

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.errors import AdmissionError
from common.privacy.bands import MOST_PATIENTS, band_of, middle_of
from server.weights import CAP, scales_of, weights_of

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
