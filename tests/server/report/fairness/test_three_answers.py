"""The first screen answers three questions, with intervals, and says where it cannot tell."""

from __future__ import annotations

from typing import Any

import pytest

from server.report.fairness.gaps import fairness_of
from server.report.fairness.groups import of_all_sites
from server.report.fairness.three_answers import are_marked, three_answers
from tests.server.report.fair_summary import fair_summary


def told(summary: dict[str, Any]) -> list[str]:
    return [" ".join((one.answer, *one.more)) for one in three_answers(summary)]


def test_three_questions_are_asked() -> None:
    questions = [one.question for one in three_answers(fair_summary())]
    assert questions == ["Who is served worst?", "How sure are we?", "What did it cost?"]


def test_group_served_worst_stands_with_rate_gap_and_both_intervals() -> None:
    worst = told(fair_summary())[0]
    assert worst.startswith(
        "F (by sex): the right report is among the first ten for 40.0% (36.0% to 44.0%) of their images, 15.0 points "
        "less often than for another group (9.3 to 20.7)."
    )
    assert "18-39" not in worst, "of age nothing is sure"
    assert "60-79" not in worst


def test_gap_that_may_be_chance_is_not_called_one() -> None:
    summary = fair_summary()
    for row in of_all_sites(summary["groups"]):
        if not row["suppressed"]:
            row["metrics"]["recall_at_10"], row["intervals"]["recall_at_10"] = 0.5, [0.4, 0.6]
    summary["fairness"] = fairness_of(of_all_sites(summary["groups"]))
    assert told(summary)[0].startswith("We cannot tell: no group of patients is below another by more than noise")
    summary["fairness"] = {}
    assert told(summary)[0].startswith("We cannot tell of groups of patients: too few of them are large enough")


def test_hospitals_are_compared_only_over_the_same_public_gallery() -> None:
    """Exact figures are of each hospital's own gallery, and a small one is easy."""
    summary = fair_summary()
    for name, site in summary["sites"].items():
        recall = 0.3 if name == "St. Brigid" else 0.6
        site |= {"metrics": {"recall_at_10": recall}, "intervals": {"recall_at_10": [recall - 0.05, recall + 0.05]}}
    assert "Of the hospitals St. Brigid is served worst, 30.0 points below another" in told(summary)[0]
    for site in summary["sites"].values():
        site["private"] = False
    assert "Of the hospitals" not in told(summary)[0]


def test_sureness_tells_patients_groups_and_noise() -> None:
    sure = told(fair_summary())[1]
    assert "About 900 held-out patients are behind them; 4 of 6 groups are large enough to be shown." in sure
    assert "about 3 patients in each count" in sure
    assert "without noise" in told(fair_summary(private=False))[1]


def test_cost_tells_epsilon_change_and_weight() -> None:
    summary = fair_summary()
    summary["sites"]["Lakeside"]["reputation"]["mean_weight"] = 0.11
    cost = told(summary)[2]
    assert cost.startswith(
        "Each training patient paid a privacy loss (epsilon: the less, the safer) of up to 7.92 at delta 10⁻⁵; each "
        "held-out patient 2 for "
    )
    assert "and 1.5 for those by group" in cost
    assert "+8.0 points at Harbour (+2.0 to +14.0)" in cost
    assert "\N{MINUS SIGN}5.0 points at St. Brigid" in cost
    assert "one surely gained, one surely lost, and of three we cannot tell" in cost
    assert "Lakeside counted for least in the model: 11.0%, an equal share is 20.0%." in cost
    for site in summary["sites"].values():
        site["reputation"]["mean_weight"] = 0.2
    assert "counted for least" not in told(summary)[2]


def test_run_without_noise_says_that_nothing_protects() -> None:
    summary = fair_summary(private=False)
    for site in summary["sites"].values():
        site["epsilon"] = None
    assert told(summary)[2].startswith("No noise protects the training patients; figures of held-out patients are")
    assert are_marked(summary)
    assert not are_marked(fair_summary())


def test_means_over_repeats_say_whose_patients_and_whose_price_they_are() -> None:
    summary = fair_summary()
    summary["baselines"] = {"federated": {"recall_at_10": [0.4, 0.5]}}
    _, sure, cost = told(summary)
    assert "held-out patients are behind them in each of the two repeats" in sure
    assert "the price of one of the two repeats: whoever is in several pays in each" in cost


def test_held_out_patients_pay_where_training_patients_do_not() -> None:
    summary = fair_summary()
    for site in summary["sites"].values():
        site["epsilon"] = None
    assert "each held-out patient paid a privacy loss (epsilon: the less, the safer) of 2 for" in told(summary)[2]


@pytest.mark.parametrize("gone", ["sites", "groups"])
def test_run_that_told_nothing_is_no_error(gone: str) -> None:
    summary = fair_summary() | {"fairness": {}, gone: type(fair_summary()[gone])()}
    answers = told(summary)
    assert len(answers) == (0 if gone == "sites" else 3)


def test_grid_of_attacks_is_not_asked(grid_summary: dict[str, Any]) -> None:
    assert three_answers(grid_summary) == ()
