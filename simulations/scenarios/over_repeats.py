"""What several repeats of a federation tell together: the mean of each figure, and the mean of its intervals' ends.

An error of the mean is the mean of the repeats' errors, so its deviation is no more than the mean of theirs, however
these go together: the mean interval holds where the same patients are held out in several repeats, as they are in
several splits of one data set, and is too wide where they are others. It holds patients and noise of these repeats;
other seeds are not in it. A group is shown where every repeat shows it, so that all figures are of the same repeats. It
reads what sites told: nothing is shown that a repeat hid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from common.config.schema import RunConfig
from common.fairness.intervals import Interval
from common.retrieval.paired import published
from server.report.fairness.gaps import fairness_of
from server.report.fairness.groups import of_all_sites
from server.report.fairness.release_gate import release

Row = dict[str, Any]
Told = dict[str, Any]

SITE_FIGURES = (
    "metrics",
    "intervals",
    "codes",
    "code_intervals",
    "start_metrics",
    "difference",
    "alone",
    "gallery",
    "chance_recall_at_10",
)
RUN_FIGURES = ("pooled", "consortium", "difference")
BY_ROUND = "metrics"


def told_by(summary: Mapping[str, Any], rounds: Sequence[Mapping[str, Any]]) -> Told:
    """What is kept of one repeat."""
    return {
        "groups": summary["groups"],
        "sites": {name: {key: site.get(key) for key in SITE_FIGURES} for name, site in summary["sites"].items()},
        "rounds": [line.get(BY_ROUND) for line in rounds],
        **{key: summary[key] for key in RUN_FIGURES},
    }


def over_repeats(
    config: RunConfig, summary: Mapping[str, Any], rounds: Sequence[dict[str, Any]], told: Sequence[Told]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Summary and rounds of the first repeat with the means over all of them in place of its figures.

    Args:
        config: The federation's configuration.
        summary: Of the first repeat.
        rounds: Of the first repeat; who joined and why not stays as it was there.
        told: Of each repeat, the first one too.
    """
    groups = mean_rows([one["groups"] for one in told])
    run = {key: mean_of([one[key] for one in told]) for key in RUN_FIGURES}
    sites = {
        name: {**site, **{key: mean_of([one["sites"].get(name, {}).get(key) for one in told]) for key in SITE_FIGURES}}
        for name, site in summary["sites"].items()
    }
    mean = {**summary, **run, "sites": sites, "groups": groups, "fairness": fairness_of(of_all_sites(groups))}
    if (change := run["difference"]) is not None:
        mean["published"] = published(Interval(change["low"], change["high"])).value
    each = list(zip(*(one["rounds"] for one in told), strict=False))
    lines = [{**line, BY_ROUND: mean_of(parts)} for line, parts in zip(rounds, each, strict=False)]
    return mean | release(config, mean), [*lines, *rounds[len(lines) :]]


def mean_rows(repeats: Sequence[Sequence[Row]]) -> list[Row]:
    """A row for each group that some repeat names: its mean figures, or that it is not shown."""
    found: dict[tuple[str, str, str], list[Row]] = {}
    for rows in repeats:
        for row in rows:
            found.setdefault((row["site"], row["attribute"], row["group"]), []).append(row)
    return [_mean_row(rows, len(repeats)) for rows in found.values()]


def _mean_row(rows: Sequence[Row], num_repeats: int) -> Row:
    hidden = [row for row in rows if row["suppressed"]]
    if hidden:
        return hidden[0]
    named: Row = {key: rows[0][key] for key in ("site", "attribute", "group")}
    if len(rows) < num_repeats:
        return {**named, "suppressed": True, **dict.fromkeys(("num_patients", "metrics", "intervals", "difference"))}
    return {**named, "suppressed": False} | {
        key: mean_of([row[key] for row in rows]) for key in ("num_patients", "metrics", "intervals", "difference")
    }


def mean_of(parts: Sequence[Any]) -> Any:  # noqa: ANN401 - figures as JSON
    """Number by number, of what every part has; None where one of them is None, the first of what is no number."""
    first = parts[0]
    if any(part is None for part in parts):
        return None
    if isinstance(first, Mapping):
        return {key: mean_of([part[key] for part in parts]) for key in first if all(key in part for part in parts)}
    if isinstance(first, list) and all(len(part) == len(first) for part in parts):
        return [mean_of(list(entries)) for entries in zip(*parts, strict=True)]
    if isinstance(first, float):
        return math.fsum(parts) / len(parts)
    if type(first) is int:
        return round(sum(parts) / len(parts))
    return first
