"""Noised counts that are made to agree: the nearest ones, and how much noise is left in them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from common.retrieval.paired import CELLS
from server.report.group_table import GroupCounts
from tests.server.report.small_table import SMALL, exact_table


def noisy_table(rng: np.random.Generator, deviation: float) -> GroupCounts:
    exact = exact_table(np.array([[60.0, 80.0], [50.0, 90.0], [12.0, 30.0]]))
    noise = rng.normal(0, deviation, exact.counts.shape)
    return GroupCounts(SMALL, exact.counts + noise, deviation**2 * np.eye(len(noise)))


def test_consistent_counts_are_the_nearest_that_agree() -> None:
    """Against an optimiser that knows the fifteen counts only by the six that make them."""
    table = noisy_table(np.random.default_rng(1), 5.0)
    crossing = np.zeros((11, 6))
    for sex in range(3):
        for age in range(2):
            cell = 2 * sex + age
            crossing[[sex, 3 + age, 5 + cell], cell] = 1
    consistent = table.consistent()
    for cell in range(len(CELLS)):
        told = table.counts[:, cell]
        best = minimize(lambda base, told=told: ((crossing @ base - told) ** 2).sum(), np.zeros(6), tol=1e-12).x
        assert consistent.counts[:, cell] == pytest.approx(crossing @ best, abs=1e-3)


def test_variance_after_agreeing_is_that_of_many_tables() -> None:
    """2,000 tables of four cells: each group's variance within 10% (4.5 deviations: false alarms 8e-5)."""
    rng = np.random.default_rng(2)
    tables = [noisy_table(rng, 5.0).consistent() for _ in range(2000)]
    exact = exact_table(np.array([[60.0, 80.0], [50.0, 90.0], [12.0, 30.0]]))
    variances = np.mean([(table.counts - exact.counts) ** 2 for table in tables], axis=(0, 2))
    assert variances == pytest.approx(np.diag(tables[0].covariance), rel=0.1)
    assert np.diag(tables[0].covariance).max() < 25 * 0.7
