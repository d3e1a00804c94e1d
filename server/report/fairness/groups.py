"""Who is served how well, from the noised counts by group: the summary's `groups` and `fairness` of a private run.

All of it reads noised counts alone: post-processing, which costs nobody anything. A hospital that tells counts which
its public band and the noise do not make is left out (`server/report/consortium.py`). The counts of the rest are made
to agree (`group_table.py`), small groups are left out (`suppression.py`), and what is shown is told with intervals that
hold the noise (`common/retrieval/paired.py`, `common/fairness/scores.py`) and compared (`gaps.py`). A group that is not
shown is spoken for by a coarser one that holds it, where such a one is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.config.schema import RunConfig
from common.fairness.table import TableForm, table_of
from common.privacy.count_noise import CountNoise
from common.privacy.held_out import group_noise_of, noise_of
from common.privacy.release import Mechanism
from common.retrieval.paired import CELLS, FOUND_AT_START, FOUND_NOW, Estimate
from server.checkpoint import RunState
from server.report.consortium import as_json, can_be
from server.report.fairness.gaps import RECALL, fairness_of
from server.report.fairness.group_table import GroupTable
from server.report.fairness.reconstruction import Tables
from server.report.fairness.suppression import suppressed

ALL_SITES = "all hospitals"


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
    form = table_of(config.fairness)
    counts_of = {site: np.array(counts) for site, counts in sorted(state.groups.items())}
    told = {
        site: counts
        for site, counts in counts_of.items()
        if all(
            can_be(counts[vector].tolist(), noise, patients_band=state.sites[site].patients_band)
            for vector in form.vectors
        )
    }
    if not told:
        return None
    tables = tables_of(form, told, noise, totals=_totals(config, state, list(told)))
    *hidden, hidden_of_whole = suppressed(tables, least=config.evaluation.least_group)
    pooled = rows_of(tables.whole, hidden_of_whole, site=ALL_SITES)
    own = [rows_of(table, groups, site=site) for site, table, groups in zip(told, tables.sites, hidden, strict=True)]
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


def tables_of(
    form: TableForm,
    told: Mapping[str, NDArray[np.float64]],
    noise: CountNoise,
    *,
    totals: Mapping[int, tuple[float, float]],
) -> Tables:
    """The tables of some sites, and of all of them together.

    Args:
        form: Of each table.
        told: By site, `[N]`.
        noise: In each count.
        totals: See `Tables`.
    """
    sites = list(told)
    in_sum = sum(noise.variance_in_sum(site, among=sites) for site in sites)
    return Tables(
        sites=tuple(GroupTable.consistent(form, counts, variance=noise.variance) for counts in told.values()),
        whole=GroupTable.consistent(form, np.sum(list(told.values()), axis=0), variance=in_sum),
        covariance=noise.covariance(sites) / noise.variance,
        totals=totals,
    )


def rows_of(table: GroupTable, hidden: Collection[int], *, site: str) -> list[dict[str, Any]]:
    """A row for each group: its figures, or that it is not shown."""
    rows = []
    for group, (marginal, name) in enumerate(table.form.groups):
        row: dict[str, Any] = {"site": site, "attribute": marginal.name, "group": name, "suppressed": group in hidden}
        if group in hidden:
            within = _within(table, hidden, group)
            nothing = dict.fromkeys(("num_patients", "metrics", "intervals", "difference"))
            rows.append({**row, **nothing, "within": within})
            continue
        figures = dict(_figures(table, group))
        rows.append(
            {
                **row,
                "num_patients": round(table.num_patients[group]),
                "metrics": {figure: found.value for figure, found in figures.items()},
                "intervals": {figure: [found.interval.low, found.interval.high] for figure, found in figures.items()},
                "difference": as_json(table.difference(group)),
            }
        )
    return rows


def of_all_sites(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of all hospitals together."""
    return [row for row in rows if row["site"] == ALL_SITES]


def _figures(table: GroupTable, group: int) -> Iterator[tuple[str, Estimate]]:
    yield RECALL, table.share(group, FOUND_NOW)
    yield f"start_{RECALL}", table.share(group, FOUND_AT_START)
    scores = table.scores(group)
    if scores is not None:
        yield from scores.figures().items()
    ranks = table.ranks(group)
    if ranks is not None:
        yield from ranks.figures().items()


def _within(table: GroupTable, hidden: Collection[int], group: int) -> dict[str, str] | None:
    """The smallest coarser group that is shown and holds a hidden one; None where there is none."""
    marginal, name = table.form.groups[group]
    if len(marginal.attributes) == 1:
        return None
    parts = marginal.parts_of(marginal.groups.index(name))
    coarser = {
        (attribute, marginal.levels[place][part])
        for place, (attribute, part) in enumerate(zip(marginal.attributes, parts, strict=True))
    }
    shown = [
        (table.num_patients[other], cut.name, level)
        for other, (cut, level) in enumerate(table.form.groups)
        if (cut.name, level) in coarser and other not in hidden
    ]
    if not shown:
        return None
    _, attribute, level = min(shown)
    return {"attribute": attribute, "group": level}


def _totals(config: RunConfig, state: RunState, sites: Sequence[str]) -> dict[int, tuple[float, float]]:
    """What the figures of all of a site's patients together say of their number, with the variance of its noise."""
    noise = noise_of(config)
    if noise is None:
        return {}
    paired = {number: (state.latest.get(site) or {}).get("paired") for number, site in enumerate(sites)}
    return {number: (sum(cells.values()), len(CELLS) * noise.variance) for number, cells in paired.items() if cells}
