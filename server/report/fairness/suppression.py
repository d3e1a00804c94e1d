"""Which groups of the tables of a run are not shown.

A group of a table is shown where it surely has `evaluation.least_group` patients, as far as noise lets us say; else
it is not, nor are others from which it could be told (complementary suppression: Cox 1980, JASA 75,
doi:10.1080/01621459.1980.10477481): what is shown of all tables leaves every count that is not shown a range of
`LEAST_RANGE` patients (`reconstruction.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.special import ndtri

from common.retrieval.paired import CONFIDENCE
from server.report.fairness.group_table import GroupTable
from server.report.fairness.reconstruction import LEAST_RANGE, Reader, Tables


def suppressed(tables: Tables, *, least: int) -> tuple[frozenset[int], ...]:
    """The groups that are not shown of each table, that of all sites last.

    Args:
        tables: All that is told.
        least: Patients that a shown group has at least.
    """
    hidden = [too_small(table, least=least) for table in tables.each]
    while _hide_more(tables, hidden):
        pass
    return tuple(frozenset(groups) for groups in hidden)


def too_small(table: GroupTable, *, least: int) -> set[int]:
    """The groups of a table that may have fewer patients than are shown, whatever else is.

    That none of those that are shown has fewer is sure at `CONFIDENCE` for all groups of the table together
    (Bonferroni): of forty empty groups one in twenty would else be shown by chance.
    """
    deviation_G = np.sqrt(np.diag(table.covariance_of_patients))
    surely = float(ndtri(1 - (1 - CONFIDENCE) / len(deviation_G)))
    return set(np.flatnonzero(table.num_patients - surely * deviation_G < least).tolist())


def _hide_more(tables: Tables, hidden: Sequence[set[int]]) -> bool:
    """Go over all hidden counts once; for each that could be told, hide the smallest beside it until it could not.

    Returns:
        Whether anything was hidden, and so has to be gone over too.
    """
    reader, more = Reader(tables, hidden), False
    for where, groups in enumerate([sorted(groups) for groups in hidden]):
        for group in groups:
            while reader.width(where, group) < LEAST_RANGE and (
                beside := list(_shown_beside(tables, hidden, where, group))
            ):
                _, place, smallest = min(beside)
                hidden[place].add(smallest)
                reader, more = Reader(tables, hidden), True
    return more


def _shown_beside(
    tables: Tables, hidden: Sequence[set[int]], where: int, group: int
) -> Iterator[tuple[float, int, int]]:
    """What is shown in a sum with a count: its number, table and group."""
    for place, one in _beside(tables, where, group):
        if one not in hidden[place]:
            yield float(tables.each[place].num_patients[one]), place, one


def _beside(tables: Tables, where: int, group: int) -> Iterator[tuple[int, int]]:
    """Counts that stand in a sum with one: of the same group where sites are added up, and of its own table."""
    yield from ((place, group) for place in range(len(tables.each)))
    for row_G in tables.sums[tables.sums[:, group] != 0]:
        yield from ((where, int(one)) for one in np.flatnonzero(row_G))
