"""Noised counts that are made to agree: the nearest ones, and how much noise is left in them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from common.fairness.scores import NUM_BINS
from common.fairness.table import TableForm
from common.retrieval.paired import CELLS
from server.report.fairness.group_table import GroupTable
from tests.server.report.fairness.small_table import SMALL

SCORED = TableForm(SMALL.marginals, scored=SMALL.marginals[:2])
"""Scores of sex and of age band, too."""


def table_of_patients(rng: np.random.Generator, number: int) -> NDArray[np.float64]:
    """The table of patients of one sex and age each, counted one by one."""
    recall = [np.zeros((len(marginal.groups), len(CELLS))) for marginal in SCORED.marginals]
    scores = [np.zeros((len(marginal.groups), NUM_BINS)) for marginal in SCORED.scored for _ in range(2)]
    for _ in range(number):
        sex, age, cell = rng.integers(3), rng.integers(2), rng.integers(len(CELLS))
        for counts, group in zip(recall, (sex, age, 2 * sex + age), strict=True):
            counts[group, cell] += 1
        relevant, irrelevant = rng.integers(NUM_BINS), rng.dirichlet(np.ones(NUM_BINS))
        for vector, group in ((0, sex), (2, age)):
            scores[vector][group, relevant] += 1
            scores[vector + 1][group] += irrelevant
    return np.concatenate([part.ravel() for part in (*recall, *scores)])


@pytest.fixture(scope="module")
def span() -> NDArray[np.float64]:
    """Tables of patients, more than there are counts, a column each."""
    rng = np.random.default_rng(1)
    return np.stack([table_of_patients(rng, 8) for _ in range(250)], axis=1)


def test_tables_of_patients_are_left_as_they_are(span: NDArray[np.float64]) -> None:
    assert span.shape[0] == SCORED.num_counts
    for counts in span.T[:20]:
        assert GroupTable.consistent(SCORED, counts, variance=1).counts == pytest.approx(counts)


def test_consistent_counts_are_the_nearest_among_mixtures_of_tables_of_patients(span: NDArray[np.float64]) -> None:
    """Whatever adds up from tables of patients agrees, and nothing else: no constraint is missing or too many."""
    told = np.random.default_rng(2).normal(20, 5, SCORED.num_counts)
    nearest = span @ np.linalg.lstsq(span, told, rcond=1e-9)[0]
    assert GroupTable.consistent(SCORED, told, variance=1).counts == pytest.approx(nearest, abs=1e-6)


def test_variance_after_agreeing_is_that_of_many_tables() -> None:
    """4,000 tables: each variance within 15% (6.7 deviations: false alarms 2e-9 altogether)."""
    rng = np.random.default_rng(3)
    noise = rng.normal(0, 5, (4000, SCORED.num_counts)) @ SCORED.onto_consistent_NN
    covariance = GroupTable.consistent(SCORED, noise[0], variance=25).covariance
    assert noise.var(axis=0) == pytest.approx(np.diag(covariance), rel=0.15)
    assert np.diag(covariance).max() < 25 * 0.9


def test_scores_say_how_many_patients_there_are_too() -> None:
    """Two more vectors of a group make its number surer, not less sure."""
    alone, beside = (GroupTable.consistent(form, np.zeros(form.num_counts), variance=1) for form in (SMALL, SCORED))
    assert (np.diag(beside.covariance_of_patients) < np.diag(alone.covariance_of_patients)).all()


def test_share_and_scores_are_those_of_the_group() -> None:
    counts = np.arange(float(SCORED.num_counts))
    table = GroupTable(SCORED, counts, np.zeros((len(counts), len(counts))))
    assert table.share(1, ("both", "final_only")).value == (4 + 6) / (4 + 5 + 6 + 7)
    start = 4 * SCORED.num_groups
    scores = table.scores(1)
    assert scores is not None
    assert scores.relevant.tolist() == list(range(start + 6, start + 12))
    assert scores.irrelevant.tolist() == list(range(start + 18 + 6, start + 18 + 12))
    assert table.scores(5) is None, "no scores of an intersection"
