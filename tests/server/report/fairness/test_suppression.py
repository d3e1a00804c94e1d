"""Which groups are hidden, so that no reader can tell them all the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult, linprog

from common.fairness.table import margins_of, total_of
from server.report.fairness.reconstruction import LEAST_RANGE, Reader, Tables
from server.report.fairness.suppression import suppressed, too_small
from tests.server.report.fairness.small_table import FEW_UNKNOWN, SMALL, tables_of

GROUPS = [group for _, group in SMALL.groups]


def names(hidden: Sequence[int] | frozenset[int]) -> set[str]:
    return {GROUPS[group] for group in hidden}


def width_by_hand(tables: Tables, hidden: Sequence[frozenset[int]], where: int, group: int) -> float:
    """Of a run without noise, by a linear program over every count of every site: shown ones are what they are."""
    num_sites, num_groups = len(tables.sites), len(GROUPS)
    truth = np.array([table.num_patients for table in tables.sites])
    sums = np.vstack([margins_of(SMALL.marginals), total_of(SMALL.marginals)])
    rows, known = [], []
    for site in range(num_sites):
        for row in sums:
            rows.append(np.kron(np.eye(num_sites)[site], row))
            known.append(row @ truth[site])
        for one in set(range(num_groups)) - hidden[site]:
            rows.append(np.kron(np.eye(num_sites)[site], np.eye(num_groups)[one]))
            known.append(truth[site, one])
    for one in set(range(num_groups)) - hidden[-1]:
        rows.append(np.tile(np.eye(num_groups)[one], num_sites))
        known.append(truth[:, one].sum())
    goal = np.kron(np.eye(num_sites)[where] if where < num_sites else np.ones(num_sites), np.eye(num_groups)[group])
    ends = [sign * linprog(sign * goal, A_eq=np.array(rows), b_eq=known).fun for sign in (1, -1)]
    return float(ends[1] - ends[0])


def test_small_group_is_hidden_and_not_the_remainder_of_others() -> None:
    """Without noise the sum over sexes gives a lone hidden group away, so the next smallest is hidden with it."""
    tables = tables_of([FEW_UNKNOWN])
    small = frozenset({2, 9, 10})  # unknown, and its two crossings
    assert Reader(tables, [small, small]).width(0, 2) < LEAST_RANGE
    of_site, of_whole = suppressed(tables, least=11)
    assert small < of_site
    assert {"unknown", "M"} <= names(of_site)
    assert of_site == of_whole, "of one site the sum is its own table"


@pytest.mark.parametrize("seed", range(3))
def test_no_hidden_count_can_be_told_from_all_that_is_shown(seed: int) -> None:
    """Two sites of random patients, without noise: the hardest case. The reader's program is written by hand."""
    rng = np.random.default_rng(seed)
    tables = tables_of([rng.integers(0, 40, (3, 2)).astype(float) for _ in range(2)], totals=True)
    hidden = suppressed(tables, least=11)
    for where, groups in enumerate(hidden):
        shown = [group for group in range(len(GROUPS)) if group not in groups]
        assert all(tables.each[where].num_patients[group] >= 11 for group in shown)
        for group in groups:
            assert width_by_hand(tables, hidden, where, group) >= LEAST_RANGE - 1e-3


def difference(seed: int) -> tuple[Tables, tuple[frozenset[int], ...]]:
    """Small groups alone are hidden, table by table: what is left when complementary suppression is off."""
    rng = np.random.default_rng(seed)
    sites: list[NDArray[np.float64]] = [rng.integers(20, 40, (3, 2)).astype(float) for _ in range(3)]
    sites[0][2] = [2, 3]
    tables = tables_of(sites)
    return tables, tuple(frozenset(too_small(table, least=11)) for table in tables.each)


@pytest.mark.parametrize("seed", range(2))
def test_without_complementary_suppression_the_sum_over_hospitals_gives_a_count_away(seed: int) -> None:
    """The broken variant: the program finds what it must not, exactly; that of all tables at once, and by hand."""
    tables, hidden = difference(seed)
    assert 2 in hidden[0]
    assert 2 not in hidden[-1], "all hospitals together have enough of them"
    assert Reader(tables, hidden).width(0, 2) < 1e-3
    assert width_by_hand(tables, hidden, 0, 2) < 1e-3
    mended = suppressed(tables, least=11)
    assert min(width_by_hand(tables, mended, 0, group) for group in mended[0]) >= LEAST_RANGE - 1e-3


def test_hiding_in_each_table_by_itself_is_not_enough() -> None:
    """The variant that looks at one table at a time: the sum of all hospitals undoes what each of them hid."""
    tables, _ = difference(0)
    alone = [suppressed(Tables((table,), table, np.eye(1), {}), least=11)[0] for table in (*tables.sites, tables.whole)]
    told = [Reader(tables, alone).width(0, group) for group in alone[0]]
    assert min(told) < LEAST_RANGE
    together = suppressed(tables, least=11)
    assert min(Reader(tables, together).width(0, group) for group in together[0]) >= LEAST_RANGE


def test_noise_hides_what_suppression_need_not() -> None:
    """With noise of ten patients a count the tables give away by subtraction says little: nothing more is hidden."""
    tables = tables_of([FEW_UNKNOWN] * 2, variance=25.0, rng=np.random.default_rng(0), totals=True)
    for groups in suppressed(tables, least=11):
        assert {"F", "M"}.isdisjoint(names(groups))


@pytest.mark.parametrize("seed", range(2))
def test_tables_found_before_never_claim_more_than_programs_of_a_counts_own(seed: int) -> None:
    tables = tables_of([FEW_UNKNOWN] * 2, variance=4.0, rng=np.random.default_rng(seed), totals=True)
    hidden = [frozenset(too_small(table, least=60)) for table in tables.each]
    places = [(where, group) for where, groups in enumerate(hidden) for group in groups]
    reader = Reader(tables, hidden)
    quick = np.array([reader.width(*place) for place in places])
    alone = np.array([Reader(tables, hidden).width(*place) for place in places])
    assert ((quick >= LEAST_RANGE) == (alone >= LEAST_RANGE)).all()


def test_program_that_is_not_solved_hides_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "server.report.fairness.reconstruction.linprog", lambda *_, **__: OptimizeResult(status=4, x=None)
    )
    of_site, of_whole = suppressed(tables_of([FEW_UNKNOWN]), least=11)
    assert of_site == of_whole == set(range(len(GROUPS)))


def test_reader_uses_the_number_of_patients_that_other_figures_tell() -> None:
    """Everything is hidden, and the figures of all patients together say that there are 26, exactly."""
    rng = np.random.default_rng(1)
    few = np.array([[5.0, 6.0], [4.0, 6.0], [2.0, 3.0]])
    told = tables_of([few], variance=9.0, rng=rng)
    every = [frozenset(range(len(GROUPS)))] * 2
    without = Reader(told, every).width(0, 0)
    knowing = Reader(replace(told, totals={0: (26.0, 0.0)}), every).width(0, 0)
    assert knowing <= 26 + 1e-3
    assert without > knowing + LEAST_RANGE
