"""Groups of a run whose sites tell exact figures (simulation only): each site's own rows, and all hospitals together.

A site hides its small groups before it tells any. A group of all hospitals is then that of the sites that show it: were
the others in it, their hidden numbers would be what is left when the shown ones are taken away.

The figure of several sites is the mean of theirs, weighed by patients. Its interval is made from each site's own, from
the side that matters: their squared reaches add up (MOVER: Zou and Donner 2008, doi:10.1002/sim.3095; for two rates it
is Newcombe's). No patient is at two sites, as far as is known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from common.fairness.intervals import Interval
from common.retrieval.paired import Estimate
from server.checkpoint import RunState
from server.report.fairness.gaps import OF_RANKS, OF_SCORES
from server.report.fairness.groups import ALL_SITES

Row = dict[str, Any]

FIGURES = ("recall_at_10", "start_recall_at_10")
"""Of final model and start."""
TOGETHER = (*FIGURES, *OF_RANKS, *OF_SCORES)
"""What is told of several sites together."""


def exact_groups(state: RunState) -> list[Row]:
    """A row for each group of all hospitals, and of each site that told any."""
    own = [{**row, "site": name} for name in state.sites for row in state.latest.get(name, {}).get("groups", [])]
    return [*pooled(own), *own]


def pooled(rows: Sequence[Row]) -> list[Row]:
    """The rows of all hospitals together.

    Args:
        rows: Of the sites. A shown one without an interval is left out: a site may say anything, and none may stop the
            report.
    """
    found: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        # By site: one that names a group twice counts once.
        found.setdefault((row["attribute"], row["group"]), {})[row["site"]] = row
    attributes = list(dict.fromkeys(attribute for attribute, _ in found))
    order = sorted(found, key=lambda key: (attributes.index(key[0]), key[1]))
    return [_together(*key, list(found[key].values())) for key in order]


def _together(attribute: str, group: str, rows: Sequence[Row]) -> Row:
    told = [row for row in rows if not row["suppressed"] and row["num_patients"] and _estimate(row, FIGURES[0])]
    whole: Row = {"site": ALL_SITES, "attribute": attribute, "group": group, "suppressed": not told}
    if not told:
        return whole | dict.fromkeys(("num_patients", "metrics", "intervals", "difference"))
    figures = {name: mean for name in TOGETHER if (mean := _mean(told, [_estimate(row, name) for row in told]))}
    difference = _mean(told, [_change(row) for row in told])
    return {
        **whole,
        "num_patients": sum(row["num_patients"] for row in told),
        "metrics": {name: found.value for name, found in figures.items()},
        "intervals": {name: [found.interval.low, found.interval.high] for name, found in figures.items()},
        "difference": None
        if difference is None
        else {"recall_at_10": difference.value, "low": difference.interval.low, "high": difference.interval.high},
    }


def _mean(rows: Sequence[Row], parts: Sequence[Estimate | None]) -> Estimate | None:
    """The mean over sites, weighed by patients; None where one of them does not tell its part."""
    told = [part for part in parts if part is not None]
    if len(told) < len(parts):
        return None
    num = sum(row["num_patients"] for row in rows)
    shares = [row["num_patients"] / num for row in rows]
    value = sum(share * part.value for share, part in zip(shares, told, strict=True))
    down = [share * (part.value - part.interval.low) for share, part in zip(shares, told, strict=True)]
    up = [share * (part.interval.high - part.value) for share, part in zip(shares, told, strict=True)]
    return Estimate(value=value, interval=Interval(value - math.hypot(*down), value + math.hypot(*up)))


def _estimate(row: Row, name: str) -> Estimate | None:
    return _checked(row["metrics"].get(name), row["intervals"].get(name))


def _change(row: Row) -> Estimate | None:
    change: Mapping[str, float] | None = row.get("difference")
    return None if change is None else _checked(change["recall_at_10"], [change["low"], change["high"]])


def _checked(value: float | None, ends: Sequence[float] | None) -> Estimate | None:
    if value is None or ends is None:
        return None
    return Estimate(value=value, interval=Interval(min(ends[0], value), max(ends[1], value)))
