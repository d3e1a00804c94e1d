"""Who gains, loses and pays: by the interval, beside the price, and in one sentence."""

from __future__ import annotations

import math

import pytest

from server.report.fairness import gains
from server.report.fairness.gains import GainRow, group_gains, of_all_hospitals, over, site_gains
from server.report.statistic import Statistic
from tests.server.report.fair_summary import change, fair_summary


def test_verdict_of_a_hospital_is_that_of_its_interval() -> None:
    verdicts = {row.site: row.verdict for row in site_gains(fair_summary())}
    assert verdicts["Harbour"] == "gains"
    assert verdicts["St. Brigid"] == "loses"
    assert {verdicts[site] for site in ("Northfield", "Lakeside", "University")} == {"we cannot tell"}


@pytest.mark.parametrize(
    ("interval", "told"),
    [((0.0, 0.1), "we cannot tell"), ((-0.1, 0.0), "we cannot tell"), ((1e-9, 0.1), "gains"), (None, "we cannot tell")],
)
def test_verdict_at_the_boundary(interval: tuple[float, float] | None, told: str) -> None:
    assert gains.verdict(Statistic(0.05, interval)) == told


def test_price_stands_beside_the_gain() -> None:
    row = site_gains(fair_summary())[0]
    assert (row.epsilon, row.weight.value, row.equal_share) == (pytest.approx(7.852), 0.2, 0.2)
    assert not row.marked
    assert site_gains(fair_summary(private=False))[0].gain.marked


def test_hospital_whose_figures_noise_drowns_shows_none() -> None:
    summary = fair_summary()
    summary["sites"]["Harbour"]["intervals"]["recall_at_10"] = [0.2, 0.8]
    row = site_gains(summary)[0]
    assert row.now.value is row.start.value is row.gain.value is None
    assert row.verdict == "we cannot tell"


def test_gain_over_training_alone_is_newcombes() -> None:
    summary = fair_summary()
    site = summary["sites"]["Harbour"]
    site["alone"] = change(0.40, 0.35, 0.46)
    low, high = site["intervals"]["recall_at_10"]
    row = site_gains(summary)[0]
    assert row.over_alone.value == pytest.approx(0.12)
    assert row.over_alone.interval == pytest.approx(
        (0.12 - math.hypot(0.52 - low, 0.06), 0.12 + math.hypot(high - 0.52, 0.05))
    )
    assert site_gains(summary)[1].over_alone.value is None
    assert over(Statistic(0.5), Statistic(0.4)).interval is None


def test_groups_that_are_not_shown_have_no_row() -> None:
    rows = group_gains(fair_summary())
    assert {row.attribute for row in rows} == {"sex", "age_band"}
    assert ("University", "F") not in {(row.site, row.group) for row in rows}
    assert [row.name for row in of_all_hospitals(rows)] == ["sex F", "sex M", "age 18-39", "age 60-79"]


def test_table_is_read_out_in_one_sentence_with_intervals() -> None:
    minus = "\N{MINUS SIGN}"
    assert gains.read_out(site_gains(fair_summary()), "hospital") == (
        f"Of five hospitals one (Harbour +8.0 points, +2.0 to +14.0) gained over the public start, one (St. Brigid "
        f"{minus}5.0 points, {minus}9.0 to {minus}1.0) lost, and of three we cannot tell."
    )
    nobody: list[GainRow] = []
    assert gains.read_out(nobody, "hospital") is None
    summary = fair_summary()
    for site in summary["sites"].values():
        site["difference"] = None
    assert gains.read_out(site_gains(summary), "hospital") == (
        "Of no hospital can we tell whether it gained over the public start."
    )
