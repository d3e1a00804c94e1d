"""Lines that leave studies out, fitted many at once, are those of one fit after another."""

from __future__ import annotations

import numpy as np
import pytest

from client.audits.linear import cross_fitted_without, fit

NUM = 60


@pytest.mark.parametrize("num_left_out", [0, 7, 59])
def test_lines_without_studies_are_those_of_a_loop_of_single_fits(num_left_out: int) -> None:
    rng = np.random.default_rng(num_left_out)
    components, target = rng.normal(size=(NUM, 6)), rng.normal(size=(NUM, 3)) + 2.0
    fold = np.arange(NUM) % 4
    left_out = np.stack([rng.permutation(NUM) < num_left_out for _ in range(5)]).astype(float)
    said, true = cross_fitted_without(components, target, fold, left_out)
    for choice, out in enumerate(left_out):
        for study in range(NUM):
            learns = (fold != fold[study]) & (out == 0)
            if learns.any():
                weights = fit(components[learns], target[learns])
                assert said[choice, study] == pytest.approx(components[study] @ weights[:-1], abs=1e-9)
                assert true[choice, study] == pytest.approx(target[study] - weights[-1], abs=1e-9)
            else:
                assert not said[choice, study].any()
