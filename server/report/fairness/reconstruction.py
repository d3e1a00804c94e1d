"""What a reader of all tables that a run tells can find out of a count that none of them shows.

They read all of it at once: each hospital's table, that of all of them, which is their sum, and the number of patients
that the figures of all groups together give away. Each sum of what is not shown follows from what is shown, as well as
its noise lets it (`_DOUBT`); the least and the greatest count that fit are found by linear programming.

Shapes: S sites, G groups of all marginals, H hidden counts of all sites, K sums.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linprog
from scipy.special import ndtri

from common.fairness.table import margins_of, total_of
from server.report.fairness.group_table import GroupTable

LEAST_RANGE = 5
"""Patients within which a count that is not shown cannot be told, at least."""

_DOUBT = float(ndtri(0.999))
"""Deviations of noise beyond which a reader believes none: one sum in 500 is further off."""
_ROUNDING = 1e-6
"""Of the linear programs' constraints, in patients."""


@dataclass(frozen=True)
class Tables:
    """All that a run tells of its groups.

    Attributes:
        sites: Consistent table of each site, of the same form and with the same noise.
        whole: That of all of them together.
        covariance: Of the noise that the sites put into one count, `[S, S]`, over that of one site's.
        totals: By number of the site, its patients as other figures tell them, and the variance of their noise.
    """

    sites: tuple[GroupTable, ...]
    whole: GroupTable
    covariance: NDArray[np.float64]
    totals: Mapping[int, tuple[float, float]]

    @property
    def each(self) -> tuple[GroupTable, ...]:
        """The sites' tables, and that of all of them last."""
        return (*self.sites, self.whole)

    @cached_property
    def sums(self) -> NDArray[np.float64]:
        """Sums over a table that are known: its margins, and its total last, `[K, G]`."""
        marginals = self.whole.form.marginals
        return np.vstack([margins_of(marginals), total_of(marginals)])


class Reader:
    """Who reads all that is shown, and asks what is not.

    What is read are sums over hidden counts: what follows for each from what is shown, and how sure that is.

    Args:
        tables: What was told.
        hidden: What is not shown of each table, that of all sites last.
    """

    def __init__(self, tables: Tables, hidden: Sequence[Collection[int]]) -> None:
        *of_sites, of_whole = hidden
        counts = [(site, group) for site, groups in enumerate(of_sites) for group in sorted(groups)]
        self._tables = tables
        self._site_H, self._group_H = np.array(counts, dtype=np.int64).reshape(-1, 2).T
        told_H = np.array([tables.sites[site].num_patients[group] for site, group in counts])
        noise_GG = tables.sites[0].covariance_of_patients
        noise_HH = (
            tables.covariance[np.ix_(self._site_H, self._site_H)] * noise_GG[np.ix_(self._group_H, self._group_H)]
        )
        sums = [*self._sums_of_sites(), *self._sums_of_whole(sorted(of_whole))]
        sums_KH = np.array(sums).reshape(len(sums), len(told_H))
        totals = list(self._totals())
        variance_K = np.einsum("kh,hi,ki->k", sums_KH, noise_HH, sums_KH, optimize=True)
        rows_KH = sparse.csr_array(np.vstack([sums_KH, *(row for row, _, _ in totals)]))
        self._both_ways = sparse.vstack([rows_KH, -rows_KH], format="csr")
        self._known_K = np.concatenate([sums_KH @ told_H, [value for _, value, _ in totals]])
        variance_K = np.concatenate([variance_K, [variance for _, _, variance in totals]])
        self._reach_K = _DOUBT * np.sqrt(np.maximum(variance_K, 0.0)) + _ROUNDING
        first, self._most = self._first_fit()
        self._fitting = [first]

    def width(self, where: int, group: int) -> float:
        """How far apart the least and the greatest value of a hidden count are that fit all that is shown.

        No count is taken to be negative. A width of more than `LEAST_RANGE` may be greater than is said.

        Args:
            where: Number of the table, that of all sites last.
            group: Not shown there.
        """
        of_site = self._site_H == where if where < len(self._tables.sites) else np.ones_like(self._site_H, dtype=bool)
        goal_H = (of_site & (self._group_H == group)).astype(np.float64)
        if not goal_H.any():
            return 0.0
        for sign in (1, -1):
            # Any two tables that fit may both be the truth: most counts need no program of their own.
            if (apart := float(np.ptp(np.array(self._fitting) @ goal_H))) >= LEAST_RANGE:
                return apart
            found = linprog(sign * goal_H, A_ub=self._both_ways, b_ub=self._most, bounds=(0, None))
            # Should a program not be solved, the count is taken to be told: more is hidden, never less.
            if found.status != 0:
                return 0.0
            self._fitting.append(found.x)
        return float(np.ptp(np.array(self._fitting) @ goal_H))

    def _first_fit(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Counts that fit all that is shown, and the greatest of each sum and of its opposite.

        Where noise is wider than is believed, so that no counts fit, a reader believes as much of it as lets some fit.
        """
        num, reach = len(self._site_H), np.concatenate([self._reach_K, self._reach_K])
        most = np.concatenate([self._known_K, -self._known_K]) + reach
        found = linprog(
            [*np.zeros(num), 1.0],
            A_ub=sparse.hstack([self._both_ways, -reach[:, None]], format="csr"),
            b_ub=most,
            bounds=(0, None),
        )
        if found.status != 0:
            return np.zeros(num), most
        return found.x[:-1], most + float(found.x[-1]) * reach + _ROUNDING

    def _sums_of_sites(self) -> Iterator[NDArray[np.float64]]:
        for site in range(len(self._tables.sites)):
            for row_G in self._tables.sums:
                yield np.where(self._site_H == site, row_G[self._group_H], 0.0)

    def _sums_of_whole(self, hidden: Sequence[int]) -> Iterator[NDArray[np.float64]]:
        for group in range(self._tables.whole.form.num_groups):
            if group not in hidden:
                yield (self._group_H == group).astype(np.float64)
        for row_G in self._tables.sums:
            yield np.where(np.isin(self._group_H, hidden), row_G[self._group_H], 0.0)

    def _totals(self) -> Iterator[tuple[NDArray[np.float64], float, float]]:
        total_G = self._tables.sums[-1]
        for site, (told, variance) in self._tables.totals.items():
            row_H = np.where(self._site_H == site, total_G[self._group_H], 0.0)
            table = self._tables.sites[site]
            shown_G = total_G.copy()
            shown_G[self._group_H[self._site_H == site]] = 0
            shown = float(shown_G @ table.num_patients)
            yield row_H, told - shown, variance + float(shown_G @ table.covariance_of_patients @ shown_G)
