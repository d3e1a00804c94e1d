"""A similarity as a probability: what it was made of is found again, and what says nothing says one half."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from common.fairness.score_scale import ScoreScale


def test_curve_that_made_the_pairs_is_found_again() -> None:
    """Logistic pairs of slope 12 and offset -3, two wrong ones a right one: balanced odds are twice as high."""
    rng = np.random.default_rng(0)
    similarity = rng.uniform(-0.5, 1.0, 60_000)
    is_right = rng.random(60_000) < expit(12 * similarity - 3)
    wrong = similarity[~is_right]
    scale = ScoreScale.of_pairs(similarity[is_right], np.concatenate([wrong, wrong]))
    even = ScoreScale.of_pairs(similarity[is_right], wrong)
    share = is_right.mean()
    assert scale.slope == pytest.approx(12, rel=0.03)
    assert scale.offset == pytest.approx(-3 - np.log(share / (1 - share)), abs=0.1)
    assert (even.slope, even.offset) == pytest.approx((scale.slope, scale.offset), rel=1e-2)


@pytest.mark.parametrize(
    ("relevant", "irrelevant"),
    [([0.3, 0.3], [0.3]), ([np.nan], [np.nan, np.nan]), ([0.1, 0.2], [0.5, 0.6, 0.7])],
    ids=["alike", "no numbers", "worse than chance"],
)
def test_pairs_that_say_nothing_are_one_half(relevant: list[float], irrelevant: list[float]) -> None:
    scale = ScoreScale.of_pairs(np.array(relevant), np.array(irrelevant))
    assert scale.probability(np.array([-1.0, 0.3, 1.0, np.nan])).tolist() == [0.5] * 4


def test_similarity_that_is_no_number_counts_as_the_least() -> None:
    scale = ScoreScale(5.0, 0.0)
    least, nan, most, infinite = scale.probability(np.array([-1.0, np.nan, 1.0, np.inf]))
    assert (least, most) == (nan, infinite)
