"""A private run's summary with figures by group, which tests change."""

from __future__ import annotations

from typing import Any

from server.report.fairness.gaps import fairness_of
from server.report.fairness.groups import ALL_SITES, of_all_sites
from tests.server.report.conftest import build_summary

GROUPS = {"sex": {"F": (0.40, 400), "M": (0.55, 500)}, "age_band": {"18-39": (0.50, 300), "60-79": (0.46, 600)}}
"""Recall at 10 and held-out patients of the groups of all hospitals."""


def row(site: str, attribute: str, group: str, recall: float, patients: int, reach: float = 0.04) -> dict[str, Any]:
    """A group that is shown; the start finds ten points less of it."""
    return {
        "site": site,
        "attribute": attribute,
        "group": group,
        "suppressed": False,
        "num_patients": patients,
        "metrics": {"recall_at_10": recall, "start_recall_at_10": recall - 0.1},
        "intervals": {
            "recall_at_10": [recall - reach, recall + reach],
            "start_recall_at_10": [recall - 0.1 - reach, recall - 0.1 + reach],
        },
        "difference": {"recall_at_10": 0.1, "low": 0.1 - reach, "high": 0.1 + reach},
    }


def hidden(site: str, attribute: str, group: str) -> dict[str, Any]:
    """A group with too few patients."""
    told = {"site": site, "attribute": attribute, "group": group, "suppressed": True}
    return told | dict.fromkeys(("num_patients", "metrics", "intervals", "difference"))


def change(value: float, low: float, high: float) -> dict[str, float]:
    """A gain over the start."""
    return {"recall_at_10": value, "low": low, "high": high}


def fair_summary(*, private: bool = True) -> dict[str, Any]:
    """Five hospitals, of which one gains, one loses and three leave it open; women are served worse than men."""
    summary = build_summary() | {"baselines": None, "release": None}
    summary["groups"] = [
        *(
            row(ALL_SITES, attribute, group, recall, patients)
            for attribute, groups in GROUPS.items()
            for group, (recall, patients) in groups.items()
        ),
        hidden(ALL_SITES, "race", "Asian"),
        hidden(ALL_SITES, "race", "White"),
        row("Harbour", "sex", "F", 0.4, 60),
        row("Harbour", "sex", "M", 0.5, 40),
        row("Lakeside", "sex", "F", 0.4, 30),
        row("Lakeside", "sex", "M", 0.5, 70),
        row("University", "sex", "M", 0.5, 90),
        hidden("University", "sex", "F"),
    ]
    summary["fairness"] = fairness_of(of_all_sites(summary["groups"]))
    gains = {"Harbour": change(0.08, 0.02, 0.14), "St. Brigid": change(-0.05, -0.09, -0.01)}
    for name, site in summary["sites"].items():
        site |= {"difference": gains.get(name, change(0.01, -0.04, 0.06)), "private": private}
        site |= {"statistics_epsilon": 2.0 if private else None}
    summary["groups_noise"] = {
        "epsilon": 1.5,
        "delta": 1e-5,
        "mechanism": "discrete_gaussian",
        "shared": False,
        "num_sites": 5,
        "num_left_out": 0,
        "deviation": 3.0,
    }
    summary["not_private"] = ["$.pooled"]
    if not private:
        summary |= {"groups_noise": None, "not_private": ["$.sites[*].difference", "$.groups", "$.pooled", "$.release"]}
    return summary
