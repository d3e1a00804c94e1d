"""What `--scenario baselines` keeps of groups: each federation's figures, and what every site got by training alone.

They are what sites tell, exact or with noise as the config says, so that nothing is shown that a run would hide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from server.report.fairness.groups import of_all_sites
from server.report.fairness.told_groups import told_groups
from simulations.scenarios.trained import Trained

FEDERATIONS = ("federated", "federated_epsilon_8", "federated_epsilon_2")
"""The same sites and rounds, without noise and with it."""
START = "public_only"
"""What every federation begins with, and tells beside its own figures."""
FIGURE = "recall_at_10"

Kept = dict[str, Any]
Row = dict[str, Any]


def groups_kept(trained: Trained) -> list[Row]:
    """A federation's groups of all sites together that are shown."""
    rows = of_all_sites(told_groups(trained.config, trained.state)["groups"])
    return [
        {
            "attribute": row["attribute"],
            "group": row["group"],
            "num_patients": row["num_patients"],
            FIGURE: row["metrics"][FIGURE],
            START: row["metrics"].get(f"start_{FIGURE}"),
        }
        for row in rows
        if not row["suppressed"]
    ]


def alone_kept(each: Sequence[Trained]) -> dict[str, Kept]:
    """By site: what its own patients get from what it trained by itself, with its groups."""
    kept = {}
    for trained in each:
        for site, latest in trained.state.latest.items():
            if latest.get("metrics"):
                kept[site] = {
                    **_estimate(latest),
                    "groups": [
                        {"attribute": row["attribute"], "group": row["group"], **_estimate(row)}
                        for row in told_groups(trained.config, trained.state)["groups"]
                        if row["site"] == site and not row["suppressed"]
                    ],
                }
    return kept


def baseline_groups(kept: Mapping[str, Sequence[Sequence[Row] | None]], *, held_out_share: float) -> list[Row]:
    """The summary's `baseline_groups`.

    Args:
        kept: By federation, what `groups_kept` gave in each repeat; None where an older run kept nothing.
        held_out_share: Share of the patients that a repeat holds out.
    """
    repeats = {name: [{_key(row): row for row in rows or ()} for rows in parts] for name, parts in kept.items()}
    keys = dict.fromkeys(key for parts in repeats.values() for rows in parts for key in rows)
    first = next(iter(repeats.values()), [])

    def each(rows: Sequence[Mapping[tuple[str, str], Row]], key: tuple[str, str], name: str) -> list[Any]:
        return [repeat[key][name] if key in repeat else None for repeat in rows]

    return [
        {
            "attribute": key[0],
            "group": key[1],
            "num_patients": each(first, key, "num_patients"),
            "held_out_share": held_out_share,
            FIGURE: {START: each(first, key, START)}
            | {name: each(rows, key, FIGURE) for name, rows in repeats.items()},
        }
        for key in keys
    ]


def with_alone(summary: dict[str, Any], kept: Mapping[str, Kept]) -> None:
    """Put what each site got by training alone beside its own figures, in a summary, and beside those of its groups."""
    for name, site in summary["sites"].items():
        if name in kept:
            site["alone"] = {end: kept[name][end] for end in (FIGURE, "low", "high")}
    alone = {(site, *_key(row)): row for site, found in kept.items() for row in found["groups"]}
    for row in summary["groups"]:
        found = alone.get((row["site"], row["attribute"], row["group"]))
        if found is not None and not row["suppressed"]:
            row["metrics"] = {**row["metrics"], f"alone_{FIGURE}": found[FIGURE]}
            row["intervals"] = {**row["intervals"], f"alone_{FIGURE}": [found["low"], found["high"]]}


def _estimate(told: Mapping[str, Any]) -> dict[str, float]:
    low, high = told["intervals"][FIGURE]
    return {FIGURE: told["metrics"][FIGURE], "low": low, "high": high}


def _key(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["attribute"], row["group"]
