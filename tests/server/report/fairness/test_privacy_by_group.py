"""What privacy does to groups: the same federation without noise and with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from server.report.fairness.privacy_by_group import privacy_rows, read_out
from tests.server.report.fair_summary import fair_summary

SMALL = {"federated": [0.5, 0.52, 0.48], "federated_epsilon_8": [0.4, 0.46, 0.36]}
LARGE = {"federated": [0.6, 0.58, 0.61], "federated_epsilon_8": [0.6, 0.57, 0.62]}


def summary_of(*groups: tuple[str, int, dict[str, list[float | None]]], share: float = 0.2) -> dict[str, Any]:
    rows = [
        {
            "attribute": "sex",
            "group": name,
            "num_patients": [patients] * 3,
            "held_out_share": share,
            "recall_at_10": recalls,
        }
        for name, patients, recalls in groups
    ]
    return fair_summary() | {"baseline_groups": rows}


def test_change_and_interval_are_those_of_the_paired_repeats() -> None:
    rows = privacy_rows(summary_of(("M", 500, LARGE), ("F", 40, SMALL)))
    assert [row.group for row in rows] == ["F", "M"], "the smallest first"
    change = rows[0].changes["federated_epsilon_8"]
    changed = np.subtract(SMALL["federated_epsilon_8"], SMALL["federated"])
    student = ttest_1samp(changed, 0).confidence_interval(0.95)
    # Of three repeats that hold out a fifth: 1/3 + 1/4 in the place of 1/3.
    reach = (student.high - changed.mean()) * np.sqrt(7 / 4)
    assert change.value == pytest.approx(changed.mean())
    assert change.interval == pytest.approx((changed.mean() - reach, changed.mean() + reach))
    minus = "\N{MINUS SIGN}"
    assert read_out(rows) == (
        f"At epsilon 8 sex F loses most: {minus}9.3 points ({minus}19.4 to +0.7), which may be chance."
    )


@pytest.mark.parametrize(("share", "least", "most"), [(0.2, 0.935, 0.965), (0.0, 0.8, 0.9)])
def test_interval_holds_what_is_true_where_repeats_hold_out_the_same_patients(
    share: float, least: float, most: float
) -> None:
    """Five cuts of 100 patients with no true change, 2,000 times: 95% of them hold it, and Student's do not.

    Three standard errors are 1.5 points at n = 2,000.
    """
    random, repeats = np.random.default_rng(7), 2000
    changes = random.normal(0, 0.4, (repeats, 100))
    cuts = np.stack([[one.take(random.permutation(100)[:20]).mean() for one in changes] for _ in range(5)], axis=1)
    told = [
        (str(i), 20, {"federated": [0.5] * 5, "federated_epsilon_8": list(0.5 + cut)}) for i, cut in enumerate(cuts)
    ]
    found = [row.changes["federated_epsilon_8"].interval for row in privacy_rows(summary_of(*told, share=share))]
    held = np.mean([interval is not None and interval[0] <= 0 <= interval[1] for interval in found])
    assert least <= held <= most


def test_one_repeat_says_that_we_cannot_tell() -> None:
    once = {name: [values[0], None, None] for name, values in SMALL.items()}
    assert "we cannot tell from one repeat" in read_out(privacy_rows(summary_of(("F", 40, once))))
    never = {"federated": [0.5, None, None], "federated_epsilon_8": [None, 0.4, 0.4]}
    assert "no group is shown both with noise and without" in read_out(privacy_rows(summary_of(("F", 40, never))))


def test_loss_that_may_be_chance_is_called_so() -> None:
    told = read_out(privacy_rows(summary_of(("M", 500, LARGE))))
    assert told.startswith("At epsilon 8 sex M gains least, and none loses: +0.0 points")
    assert told.endswith("which may be chance.")
    assert privacy_rows(fair_summary()) == []
