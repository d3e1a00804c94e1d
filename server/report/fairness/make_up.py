"""Demographic make-up: the share of each group among a hospital's held-out patients.

Shares are of the patients in groups that are shown: the number of the others is told nowhere, nor by a remainder. Where
the counts have noise a share has an interval that holds it: it is of these patients, so that nothing is sampled. Exact
counts have none, and no row of all hospitals, for there each group is of other hospitals (`exact_groups.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.special import ndtri

from common.fairness.marginals import BOTH
from common.retrieval.paired import CELLS, CONFIDENCE
from server.report import words
from server.report.fairness.groups import ALL_SITES
from server.report.statistic import Statistic, Statistics

Summary = Mapping[str, Any]

_Z = float(ndtri((1 + CONFIDENCE) / 2))


@dataclass(frozen=True)
class MakeUp:
    """Sites by groups of one attribute.

    Attributes:
        attribute: For example `sex`.
        groups: Column names: the groups that are shown at some site.
        rows: Site, and a share for each column; no value where the group is not shown there.
    """

    attribute: str
    groups: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Statistic, ...]], ...]

    @property
    def marked(self) -> bool:
        """Whether a share was counted without noise."""
        return any(share.marked for _, shares in self.rows for share in shares)

    @property
    def sentence(self) -> str | None:
        """The group whose share differs most between hospitals; None where no two hospitals show one."""
        spread = []
        for column, group in enumerate(self.groups):
            told = [
                (share.value, site, share)
                for site, row in self.rows
                if site != ALL_SITES and (share := row[column]).value is not None
            ]
            if len(told) > 1:
                least, most = min(told, key=lambda one: one[0]), max(told, key=lambda one: one[0])
                spread.append((most[0] - least[0], group, least, most))
        if not spread:
            return None
        _, group, least, most = max(spread, key=lambda one: one[0])
        ends = " to ".join(f"{_share(share)} at {site}" for _, site, share in (least, most))
        return f"{words.group(group)} make up from {ends}: no other group's share differs more between hospitals."


def make_ups(summary: Summary) -> list[MakeUp]:
    """One table for each single attribute of which a site shows two groups."""
    attributes = dict.fromkeys(row["attribute"] for row in summary["groups"] if BOTH not in row["attribute"])
    found = [_make_up(summary, attribute) for attribute in attributes]
    return [one for one in found if one.rows]


def _make_up(summary: Summary, attribute: str) -> MakeUp:
    rows = [row for row in summary["groups"] if row["attribute"] == attribute and not row["suppressed"]]
    groups = tuple(sorted({row["group"] for row in rows}))
    private = Statistics(summary).is_private("groups")
    deviation = _deviation(summary)
    together = (ALL_SITES,) if deviation is not None else ()
    sites = [name for name in (*summary["sites"], *together) if any(row["site"] == name for row in rows)]
    table = []
    for site in sites:
        counts = {row["group"]: row["num_patients"] or 0 for row in rows if row["site"] == site}
        # How noise of several hospitals adds up in their sum is not told; a share of it is shown without an interval.
        spread = deviation if site != ALL_SITES else None
        if len(counts) > 1:  # the share of one group among itself says nothing
            table.append((site, tuple(_of(counts, group, spread, private=private) for group in groups)))
    return MakeUp(attribute, groups, tuple(table))


def _of(counts: Mapping[str, int], group: str, deviation: float | None, *, private: bool) -> Statistic:
    total = sum(counts.values())
    if group not in counts or total <= 0:
        return Statistic(None, private=private)
    share = counts[group] / total
    if deviation is None:
        return Statistic(share, private=private)
    # By the delta method: its own count moves the share by (1 - share) / total, each of the others by share / total.
    reach = _Z * deviation * math.sqrt((1 - share) ** 2 + (len(counts) - 1) * share**2) / total
    return Statistic(share, (max(share - reach, 0.0), min(share + reach, 1.0)), private)


def _deviation(summary: Summary) -> float | None:
    """Of the noise in a hospital's count of a group, the sum of its cells; before they agree, so none too small."""
    noise = summary.get("groups_noise")
    return None if not noise else math.sqrt(len(CELLS)) * float(noise["deviation"])


def _share(share: Statistic) -> str:
    ends: Sequence[float] = share.interval or ()
    between = f" ({' to '.join(words.percent(end) for end in ends)})" if ends else ""
    return f"{words.percent(share.value)}{between}"
