"""Who is served how well, from the noised counts by group: the summary's `groups` and `fairness` of a private run.

All of it reads noised counts alone: post-processing, which costs nobody anything. A hospital that tells counts which
its public band and the noise do not make is left out (`server/report/consortium.py`).

1. *Consistent*: all marginals count the same patients, and an intersection's margins are its attributes' groups. The
   counts nearest to the told ones in the least-squares sense for which that is so have less noise, and how much less is
   known exactly (Hay et al., PVLDB 2010, arXiv 0904.0942, for hierarchies).
2. *Suppressed*: a group is shown where it surely has `evaluation.least_group` patients, as far as the noise lets us
   say; else it is not, nor are others from which it could be told (complementary suppression: Cox 1980, JASA 75,
   doi:10.1080/01621459.1980.10477481): what is shown, each sum known as well as its noise lets it be, leaves every
   count that is not shown a range of `LEAST_RANGE` patients, by linear programming over all tables (`_DOUBT`).
3. *Told with an interval* that holds the noise (`common/retrieval/paired.py`). The gap is that between the two groups
   of which it is surest that one is served worse; its interval holds for all pairs together (Bonferroni).

Shapes: G groups of all marginals, C cells of a group, K linear constraints.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.stats import norm

from common.config.schema import RunConfig
from common.fairness.marginals import Marginal, marginals_of
from common.privacy.held_out import group_noise_of
from common.privacy.release import Mechanism
from common.retrieval.paired import CELLS, CONFIDENCE, Paired
from server.checkpoint import RunState
from server.report.consortium import can_be

ALL_SITES = "all hospitals"
LEAST_RANGE = 5
"""Patients within which a count that is not shown cannot be told, at least."""

_FEWEST_COMPARED = 2
_Z = float(norm.ppf((1 + CONFIDENCE) / 2))
_SURE = float(norm.ppf(CONFIDENCE))
_DOUBT = float(norm.ppf(0.999))
"""Deviations of noise beyond which a reader believes none: one sum in 500 is further off."""
_ROUNDING = 1e-6
"""Of the linear programs' constraints, in patients."""


@dataclass(frozen=True)
class GroupCounts:
    """The counts of one site, or of several together.

    Attributes:
        marginals: Whose groups they are.
        counts: `[G, C]`, in patients.
        covariance: Of the noise in the cells of one kind, `[G, G]`, in patients squared; each kind has the same.
    """

    marginals: tuple[Marginal, ...]
    counts: NDArray[np.float64]
    covariance: NDArray[np.float64]

    def consistent(self) -> GroupCounts:
        """The nearest counts of which all marginals say the same; the noise of the told ones is alike in all."""
        constraints_KG = margins_of(self.marginals)
        onto_GG = np.eye(len(self.counts)) - np.linalg.pinv(constraints_KG) @ constraints_KG
        return GroupCounts(self.marginals, onto_GG @ self.counts, onto_GG @ self.covariance)

    @property
    def num_patients(self) -> NDArray[np.float64]:
        """Of each group, `[G]`."""
        number_G: NDArray[np.float64] = self.counts.sum(axis=1)
        return number_G

    def paired(self, group: int) -> Paired:
        """A group's counts."""
        cells = dict(zip(CELLS, self.counts[group].tolist(), strict=True))
        return Paired(**cells, noise_variance=float(self.covariance[group, group]))


@dataclass(frozen=True)
class NoisedGroups:
    """What a summary says of groups.

    Attributes:
        rows: A row for each group of each site that told counts, and of all of them together.
        fairness: By marginal, of all sites together: the group served worst, and the gap.
        noise: How the counts were made.
    """

    rows: list[dict[str, Any]]
    fairness: dict[str, Any]
    noise: dict[str, Any]


def noised_groups(config: RunConfig, state: RunState) -> NoisedGroups | None:
    """What a run says of groups; None where its sites told no noised counts of them."""
    noise = group_noise_of(config)
    if noise is None:
        return None
    marginals, least = marginals_of(config.fairness), config.evaluation.least_group
    num_groups = sum(len(marginal.groups) for marginal in marginals)
    ends = np.cumsum([len(marginal.groups) for marginal in marginals])[:-1]
    counts_of = {site: np.reshape(counts, (num_groups, len(CELLS))) for site, counts in sorted(state.groups.items())}
    told = [
        site
        for site, counts in counts_of.items()
        if all(
            can_be(part.ravel().tolist(), noise, patients_band=state.sites[site].patients_band)
            for part in np.split(counts, ends)
        )
    ]
    if not told:
        return None

    def table(sites: Sequence[str], variance: float) -> GroupCounts:
        counts = np.sum([counts_of[site] for site in sites], axis=0)
        return GroupCounts(marginals, counts, variance * np.eye(num_groups)).consistent()

    whole = table(told, sum(noise.variance_in_sum(site, among=told) for site in told))
    pooled = rows_of(whole, site=ALL_SITES, least=least)
    own = [rows_of(table([site], noise.variance), site=site, least=least) for site in told]
    return NoisedGroups(
        rows=[*pooled, *itertools.chain.from_iterable(own)],
        fairness=fairness_of(pooled),
        noise={
            "epsilon": config.fairness.epsilon,
            "delta": config.fairness.delta if noise.mechanism is Mechanism.DISCRETE_GAUSSIAN else 0.0,
            "mechanism": str(noise.mechanism),
            "shared": noise.is_shared,
            "num_sites": len(told),
            "num_left_out": len(counts_of) - len(told),
            "deviation": math.sqrt(noise.variance),
        },
    )


def rows_of(table: GroupCounts, *, site: str, least: int) -> list[dict[str, Any]]:
    """A row for each group: its figures, or that it is not shown."""
    hidden = suppressed(table, least=least)
    rows = []
    for group, (marginal, name) in enumerate(_named(table.marginals)):
        row: dict[str, Any] = {"site": site, "attribute": marginal.name, "group": name, "suppressed": group in hidden}
        if group in hidden:
            rows.append({**row, "num_patients": None, "metrics": None, "intervals": None})
            continue
        paired = table.paired(group)
        final, start = paired.final(), paired.start()
        rows.append(
            {
                **row,
                "num_patients": round(paired.num_patients),
                "metrics": {"recall_at_10": final.value, "start_recall_at_10": start.value},
                "intervals": {
                    "recall_at_10": [final.interval.low, final.interval.high],
                    "start_recall_at_10": [start.interval.low, start.interval.high],
                },
            }
        )
    return rows


def fairness_of(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """By marginal: the surest gap between two groups that are shown, its interval, and the group served worse."""
    found: dict[str, Any] = {}
    for attribute in dict.fromkeys(row["attribute"] for row in rows):
        shown = [row for row in rows if row["attribute"] == attribute and not row["suppressed"]]
        if len(shown) < _FEWEST_COMPARED:
            continue
        wider = float(norm.ppf(1 - (1 - CONFIDENCE) / (2 * math.comb(len(shown), 2))) / _Z)
        pairs = [pair for pair in itertools.permutations(shown, 2) if _rate(pair[0]) >= _rate(pair[1])]
        better, worse = max(pairs, key=lambda pair: _gap_interval(*pair, wider=wider)[0])
        found[attribute] = {
            "worst_group": {"site": worse["site"], "group": worse["group"], "recall_at_10": _rate(worse)},
            "gap": _rate(better) - _rate(worse),
            "gap_interval": [min(max(end, 0.0), 1.0) for end in _gap_interval(better, worse, wider=wider)],
        }
    return found


def _gap_interval(better: dict[str, Any], worse: dict[str, Any], *, wider: float) -> tuple[float, float]:
    """Of the difference of two rates, from the side of each one's interval that matters (Newcombe 1998, method 10)."""
    difference = _rate(better) - _rate(worse)
    down = math.hypot(_rate(better) - _ends(better)[0], _ends(worse)[1] - _rate(worse))
    up = math.hypot(_ends(better)[1] - _rate(better), _rate(worse) - _ends(worse)[0])
    return difference - wider * down, difference + wider * up


def suppressed(table: GroupCounts, *, least: int) -> frozenset[int]:
    """The groups of a consistent table that are not shown.

    Args:
        table: The table.
        least: Patients that a shown group has at least.
    """
    number_G = table.num_patients
    deviation_G = np.sqrt(len(CELLS) * np.diag(table.covariance))
    hidden = set(np.flatnonzero(number_G - _SURE * deviation_G < least).tolist())
    while True:
        exposed = [group for group in sorted(hidden) if width_of(table, hidden, group) < LEAST_RANGE]
        beside = {one for group in exposed for one in _neighbours(table.marginals, group) if one not in hidden}
        if not beside:
            return frozenset(hidden)
        hidden.add(min(beside, key=lambda group: (number_G[group], group)))


def width_of(table: GroupCounts, hidden: Collection[int], group: int) -> float:
    """How far apart the least and the greatest count of a hidden group are that fit all that is shown.

    Each sum that is shown is taken to be as far off as its noise can be, and no count to be negative. Where no table
    fits, nothing follows from what is shown.
    """
    order = sorted(hidden)
    rows_KH = np.vstack([margins_of(table.marginals), total_of(table.marginals)])[:, order]
    known_K = rows_KH @ table.num_patients[order]
    covariance_HH = len(CELLS) * table.covariance[np.ix_(order, order)]
    reach_K = _DOUBT * np.sqrt(np.maximum(np.einsum("kh,hi,ki->k", rows_KH, covariance_HH, rows_KH), 0.0))
    goal_H = np.array([float(one == group) for one in order])
    ends = []
    for sign in (1, -1):
        found = linprog(
            sign * goal_H,
            A_ub=np.vstack([rows_KH, -rows_KH]),
            b_ub=np.concatenate([known_K + reach_K, reach_K - known_K]) + _ROUNDING,
            bounds=(0, None),
        )
        if found.status != 0:
            return math.inf
        ends.append(sign * float(found.fun))
    return ends[1] - ends[0]


def margins_of(marginals: Sequence[Marginal]) -> NDArray[np.float64]:
    """What holds of any table: `[K, G]`, each row's sum over it is zero."""
    starts = list(itertools.accumulate((len(marginal.groups) for marginal in marginals), initial=0))
    single = {marginal.attributes: number for number, marginal in enumerate(marginals) if len(marginal.attributes) == 1}
    rows = []
    for number, marginal in enumerate(marginals):
        if len(marginal.attributes) == 1:
            if number:
                row = np.zeros(starts[-1])
                row[starts[number] : starts[number + 1]], row[: starts[1]] = 1, -1
                rows.append(row)
            continue
        for place, attribute in enumerate(marginal.attributes):
            for part in range(len(marginal.levels[place])):
                row = np.zeros(starts[-1])
                row[starts[single[attribute,]] + part] = -1
                for group in range(len(marginal.groups)):
                    row[starts[number] + group] = marginal.parts_of(group)[place] == part
                rows.append(row)
    return np.array(rows).reshape(len(rows), starts[-1])


def total_of(marginals: Sequence[Marginal]) -> NDArray[np.float64]:
    """The row whose sum over a table is the number of all patients, `[1, G]`."""
    row = np.zeros((1, sum(len(marginal.groups) for marginal in marginals)))
    row[0, : len(marginals[0].groups)] = 1
    return row


def _neighbours(marginals: Sequence[Marginal], group: int) -> Iterator[int]:
    """Groups with which one stands in a constraint."""
    rows_KG = np.vstack([margins_of(marginals), total_of(marginals)])
    for row_G in rows_KG[rows_KG[:, group] != 0]:
        yield from np.flatnonzero(row_G).tolist()


def _named(marginals: Sequence[Marginal]) -> Iterator[tuple[Marginal, str]]:
    return ((marginal, name) for marginal in marginals for name in marginal.groups)


def _rate(row: dict[str, Any]) -> float:
    return float(row["metrics"]["recall_at_10"])


def _ends(row: dict[str, Any]) -> tuple[float, float]:
    low, high = row["intervals"]["recall_at_10"]
    return float(low), float(high)
