"""Shares of groups: of what is shown alone, with the noise of the counts."""

from __future__ import annotations

import numpy as np
import pytest

from server.report.fairness.groups import ALL_SITES
from server.report.fairness.make_up import make_ups
from tests.server.report.fair_summary import fair_summary


def test_shares_are_of_the_patients_that_are_shown() -> None:
    (sex,) = make_ups(fair_summary(private=False))
    assert sex.groups == ("F", "M")
    rows = dict(sex.rows)
    assert [share.value for share in rows["Harbour"]] == [0.6, 0.4]
    assert rows.keys() == {"Harbour", "Lakeside"}, "University shows one group: of itself it is all"
    assert (sex.marked, rows["Harbour"][0].interval) == (True, None)
    assert sex.sentence == (
        "F make up from 30.0% at Lakeside to 60.0% at Harbour: no other group's share differs more between hospitals."
    )


def test_all_hospitals_have_shares_where_their_counts_are_of_the_same_patients() -> None:
    sex, age = make_ups(fair_summary())
    assert dict(sex.rows)[ALL_SITES][0].value == pytest.approx(400 / 900)
    assert age.rows[0][0] == ALL_SITES
    assert age.sentence is None, "no hospital shows its ages"


def test_interval_of_a_share_holds_the_noise_of_the_counts() -> None:
    """Against 4,000 draws of the noise: 95% of the shares are within (5 deviations); of half of it nearly all."""
    (share, _), deviation = dict(make_ups(fair_summary())[0].rows)["Harbour"], 2 * 3.0
    assert share.interval is not None
    rng = np.random.default_rng(5)
    for factor, least, most in ((1.0, 0.93, 0.97), (0.5, 0.99, 1.0)):
        women, men = np.array([60, 40])[:, None] + factor * deviation * rng.standard_normal((2, 4000))
        shares = women / (women + men)
        covered = np.mean((shares >= share.interval[0]) & (shares <= share.interval[1]))
        assert least <= covered <= most
