"""Groups of all hospitals from the exact rows of each: whose patients are in them, and that the intervals hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from server.report.fairness.exact_groups import pooled
from server.report.fairness.groups import ALL_SITES

LEVEL = 0.95


def row(site: str, found: int, num: int, *, group: str = "F") -> dict[str, Any]:
    """A site's group, one study a patient, with the interval of SciPy."""
    ends = binomtest(found, num).proportion_ci(LEVEL, method="wilson")
    told = {"recall_at_10": found / num}
    return {
        "site": site,
        "attribute": "sex",
        "group": group,
        "suppressed": False,
        "num_patients": num,
        "metrics": told,
        "intervals": {"recall_at_10": [ends.low, ends.high]},
        "difference": {"recall_at_10": 0.1, "low": 0.0, "high": 0.2},
    }


def hidden(site: str, *, group: str = "F") -> dict[str, Any]:
    told = {"site": site, "attribute": "sex", "group": group, "suppressed": True}
    return told | dict.fromkeys(("num_patients", "metrics", "intervals", "difference"))


def test_rate_is_that_of_all_patients_together() -> None:
    (found,) = pooled([row("north", 12, 40), row("south", 50, 80)])
    assert (found["site"], found["num_patients"]) == (ALL_SITES, 120)
    assert found["metrics"]["recall_at_10"] == pytest.approx(62 / 120)
    assert found["difference"]["recall_at_10"] == pytest.approx(0.1)
    assert found["difference"]["low"] == pytest.approx(0.1 - 0.1 * np.hypot(1 / 3, 2 / 3))


def test_patients_of_a_site_that_hides_the_group_are_in_no_sum() -> None:
    (found,) = pooled([row("north", 12, 40), hidden("south")])
    assert (found["num_patients"], found["metrics"]["recall_at_10"]) == (40, 0.3)
    (found,) = pooled([hidden("north"), hidden("south")])
    assert found["suppressed"]
    assert found["num_patients"] is found["metrics"] is found["difference"] is None


def test_rows_stand_by_attribute_and_group_whatever_site_tells_them_first() -> None:
    scanner = row("north", 1, 20) | {"attribute": "scanner", "group": "A"}
    rows = pooled([row("north", 1, 20, group="M"), scanner, row("south", 1, 20, group="F")])
    assert [(one["attribute"], one["group"]) for one in rows] == [("sex", "F"), ("sex", "M"), ("scanner", "A")]


def test_what_a_site_says_wrongly_stops_nothing() -> None:
    twice, without = row("south", 80, 80), row("west", 1, 40)
    without["intervals"] = {}
    (found,) = pooled([row("north", 12, 40), twice, twice, without])
    assert found["num_patients"] == 120
    without["difference"] = None
    without["intervals"] = {"recall_at_10": [0.9, 0.1]}
    (found,) = pooled([row("north", 12, 40), without])
    assert found["difference"] is None
    low, high = found["intervals"]["recall_at_10"]
    assert low <= found["metrics"]["recall_at_10"] <= high


def _covered(*, broken: bool) -> float:
    """Share of 3,000 pairs of hospitals whose interval holds the rate of all their patients."""
    rng, truth, nums = np.random.default_rng(7), (0.3, 0.6), (40, 80)
    table = {(site, found): row(str(site), found, num) for site, num in enumerate(nums) for found in range(num + 1)}
    whole, held = (40 * 0.3 + 80 * 0.6) / 120, 0
    for counts in rng.binomial(nums, truth, size=(3000, 2)):
        rows = [table[site, int(found)] for site, found in enumerate(counts)]
        if broken:
            point = rows[1]["metrics"]["recall_at_10"]
            rows[1] = rows[1] | {"intervals": {"recall_at_10": [point, point]}}
        low, high = pooled(rows)[0]["intervals"]["recall_at_10"]
        held += low <= whole <= high
    return held / 3000


def test_interval_of_two_hospitals_covers_and_one_that_forgets_a_hospital_does_not() -> None:
    """N = 3,000, nominal 95%: within 93 to 97% (5 deviations, false alarms below 1e-6)."""
    assert 0.93 <= _covered(broken=False) <= 0.97
    assert _covered(broken=True) < 0.85
