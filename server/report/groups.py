"""Who is served how well, from the noised counts by group: the summary's `groups` and `fairness` of a private run.

All of it reads noised counts alone: post-processing, which costs nobody anything. A hospital that tells counts which
its public band and the noise do not make is left out (`server/report/consortium.py`). The counts of the rest are made
to agree (`group_table.py`), small groups are left out (`suppression.py`), and what is shown is told with intervals that
hold the noise (`common/retrieval/paired.py`) and compared (`gaps.py`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.config.schema import RunConfig
from common.fairness.marginals import marginals_of
from common.privacy.held_out import group_noise_of
from common.privacy.release import Mechanism
from common.retrieval.paired import CELLS
from server.checkpoint import RunState
from server.report.consortium import as_json, can_be
from server.report.gaps import fairness_of
from server.report.group_table import GroupCounts, named
from server.report.suppression import suppressed

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
    for group, (marginal, name) in enumerate(named(table.marginals)):
        row: dict[str, Any] = {"site": site, "attribute": marginal.name, "group": name, "suppressed": group in hidden}
        if group in hidden:
            rows.append({**row, **dict.fromkeys(("num_patients", "metrics", "intervals", "difference"))})
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
                "difference": as_json(paired.difference()),
            }
        )
    return rows


def of_all_sites(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of all hospitals together."""
    return [row for row in rows if row["site"] == ALL_SITES]
