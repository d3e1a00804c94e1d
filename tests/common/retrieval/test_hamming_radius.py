"""Precision and recall by Hamming radius, beside loops and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import precision_score, recall_score

from common.retrieval.hamming_radius import by_radius


def test_by_radius_equals_scikit_learn_query_by_query() -> None:
    source = np.random.default_rng(0)
    distances = source.integers(0, 17, (20, 30))
    relevant = source.random((20, 30)) < 0.2
    relevant[:, 0] = True
    found = by_radius(distances, relevant, bit_width=16)
    for radius in range(17):
        within = distances <= radius
        precisions = [precision_score(r, w, zero_division=0) for r, w in zip(relevant, within, strict=True)]
        recalls = [recall_score(r, w) for r, w in zip(relevant, within, strict=True)]
        assert found.precision[radius] == pytest.approx(np.mean(precisions))
        assert found.recall[radius] == pytest.approx(np.mean(recalls))
    assert found.recall[-1] == 1


def test_a_query_that_finds_nothing_counts_as_zero() -> None:
    found = by_radius(np.array([[3]]), np.array([[True]]), bit_width=4)
    np.testing.assert_array_equal(found.precision, [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(found.recall, [0, 0, 0, 1, 1])


@pytest.mark.parametrize(
    ("distances", "relevant", "said"),
    [
        ([[1, 2]], [[True]], "one shape"),
        ([[9]], [[True]], "from 0 to 8"),
        ([[1]], [[False]], "leave it out"),
    ],
)
def test_by_radius_refuses_what_has_none(distances: list[list[int]], relevant: list[list[bool]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        by_radius(np.array(distances), np.array(relevant), bit_width=8)
