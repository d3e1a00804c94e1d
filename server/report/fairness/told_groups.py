"""The figures by group that a run tells: noised ones where it has noise for them, else its sites' exact ones."""

from __future__ import annotations

from typing import Any

from common.config.schema import RunConfig
from server.checkpoint import RunState
from server.report.fairness.exact_groups import exact_groups
from server.report.fairness.gaps import fairness_of
from server.report.fairness.groups import noised_groups, of_all_sites


def told_groups(config: RunConfig, state: RunState) -> dict[str, Any]:
    """The summary's `groups`, `fairness` and `groups_noise`, the last one None where the figures are exact."""
    if (noised := noised_groups(config, state)) is not None:
        return {"groups": noised.rows, "fairness": noised.fairness, "groups_noise": noised.noise}
    rows = exact_groups(state)
    return {"groups": rows, "fairness": fairness_of(of_all_sites(rows)), "groups_noise": None}
