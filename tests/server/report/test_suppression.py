"""Which groups are hidden, and whether a reader can tell them all the same."""

from __future__ import annotations

import numpy as np
import pytest

from server.report.group_table import GroupCounts
from server.report.suppression import LEAST_RANGE, suppressed, width_of
from tests.server.report.small_table import FEW_UNKNOWN, SMALL, exact_table


def names(hidden: frozenset[int]) -> set[str]:
    groups = [group for marginal in SMALL for group in marginal.groups]
    return {groups[group] for group in hidden}


def test_small_group_is_hidden_and_not_the_remainder_of_others() -> None:
    """Without noise the sum over sexes gives a lone hidden group away, so the next smallest is hidden with it."""
    table = exact_table(FEW_UNKNOWN)
    small = {2, 9, 10}  # unknown, and its two crossings
    assert width_of(table, small, 2) < LEAST_RANGE
    hidden = suppressed(table, least=11)
    assert small < hidden
    assert {"unknown", "M"} <= names(hidden)
    for group in hidden:
        assert width_of(table, hidden, group) >= LEAST_RANGE


@pytest.mark.parametrize("seed", range(12))
def test_no_hidden_count_can_be_told_from_what_is_shown(seed: int) -> None:
    """Random tables of patients, without noise: the hardest case for suppression."""
    rng = np.random.default_rng(seed)
    table = exact_table(rng.integers(0, 40, (3, 2)).astype(float))
    hidden = suppressed(table, least=11)
    shown = [group for group in range(len(table.counts)) if group not in hidden]
    assert all(table.num_patients[group] >= 11 for group in shown)
    assert all(width_of(table, hidden, group) >= LEAST_RANGE for group in hidden) or not shown


def test_noise_hides_what_suppression_need_not() -> None:
    """With noise of ten patients a count the tables give away by subtraction says little: nothing more is hidden."""
    table = exact_table(FEW_UNKNOWN)
    noisy = GroupCounts(SMALL, table.counts, 25 * np.eye(len(table.counts))).consistent()
    assert {"F", "M"}.isdisjoint(names(suppressed(noisy, least=11)))
