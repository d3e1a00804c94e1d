"""The first sentence, the large numbers and the notices."""

from __future__ import annotations

import math
from typing import Any

import pytest

from server.report.outcome import outcome, retrieval


def texts(summary: dict[str, Any]) -> str:
    found = outcome(summary)
    lines = [line for notice in found.notices for line in (notice.text, *notice.details)]
    return "\n".join(lines)


def test_completed_run_is_told_in_one_sentence(summary: dict[str, Any]) -> None:
    assert outcome(summary).sentence == (
        "Five hospitals trained one model in twelve rounds; the right report is among the first ten "
        "for 41.2% of images."
    )


def test_headlines_hold_chance_start_epsilon_and_sites(summary: dict[str, Any]) -> None:
    reached, gain, epsilon, sites = outcome(summary).headlines
    assert (reached.figure, reached.note) == ("41.2%", "of 420 held-out reports; chance 2.4%")
    assert (gain.figure, gain.note) == ("+14.8", "the start model alone: 26.4%")
    assert epsilon.figure == "7.92"
    assert "10⁻⁵" in epsilon.note
    assert "patient" in epsilon.note
    assert "add or remove one" in epsilon.note
    assert sites.figure == "5 of 5"
    assert reached.marked
    assert gain.marked
    assert not epsilon.marked


def test_without_a_pooled_gallery_the_mean_of_the_hospitals_is_told(summary: dict[str, Any]) -> None:
    summary["pooled"] = None
    summary["sites"]["Harbour"]["metrics"]["recall_at_10"] = float("nan")
    found = retrieval(summary)
    assert found["reached"].value is not None
    assert math.isclose(found["reached"].value, (0.61 + 0.47 + 0.55 + 0.66) / 4)
    assert outcome(summary).headlines[0].note == "mean of the hospitals; chance 11.9%"


def test_noised_figures_of_hospitals_are_said_to_say_little(summary: dict[str, Any]) -> None:
    summary["sites"]["Harbour"]["statistics_epsilon"] = 2.0
    assert "told their figures with noise" not in texts(summary), "the pooled figures have none"
    summary["pooled"] = None
    assert "told their figures with noise" in texts(summary)


def test_failed_run_is_told_first(summary: dict[str, Any]) -> None:
    summary |= {"status": "failed", "reason": "the quorum was not met", "rounds_completed": 3}
    assert outcome(summary).sentence == "The run failed after three rounds of twelve: the quorum was not met."
    assert outcome(summary).notices[0].grave


def test_drops_are_told_in_plain_words(summary: dict[str, Any]) -> None:
    summary["sites"]["Lakeside"]["drops"] = {"solar_flare": 1}
    told = texts(summary)
    assert "St. Brigid: sent numbers that are not finite (two rounds); answered after the deadline (one round)" in told
    assert "Lakeside: solar_flare (one round)" in told
    assert "Harbour" not in told


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: s["sites"]["Harbour"].update(rounds_joined=0, drops={"raised": 12}), "No update of these hospitals"),
        (lambda s: s["sites"]["Harbour"].update(epsilon=8.01), "Epsilon passed its target at Harbour"),
        (lambda s: s["privacy"].update(target_epsilon=None), "without differential privacy"),
        (lambda s: s.update(rounds_completed=7), "Stopped after 7 of 12 planned rounds"),
    ],
)
def test_what_casts_doubt_is_told_gravely(summary: dict[str, Any], change: Any, told: str) -> None:
    assert told not in texts(summary)
    change(summary)
    assert any(told in notice.text and notice.grave for notice in outcome(summary).notices)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"mean_weight": 0.049}, "Harbour: counted for 4.9% on average, an equal share is 20.0%"),
        ({"mean_weight": 0.051}, None),
        ({"dropped_share": 7 / 12}, "Harbour: left out of 58.3% of the rounds"),
        ({"dropped_share": 6 / 12}, None),
        ({"mean_weight": None, "equal_share": None}, None),
    ],
)
def test_hospital_that_hardly_counted_is_named_without_blame(
    summary: dict[str, Any], found: dict[str, Any], told: str | None
) -> None:
    summary["sites"]["Harbour"]["reputation"] |= found
    notices = [notice for notice in outcome(summary).notices if "count for little" in notice.text]
    if told is None:
        assert notices == []
    else:
        assert "no proof of malice" in notices[0].text
        assert notices[0].details == (told,)
        assert not notices[0].grave


def test_grid_of_attacks_is_told_by_its_verdict(grid_summary: dict[str, Any]) -> None:
    found = outcome(grid_summary)
    assert found.sentence == (
        "With up to two of ten hospitals attacking, ARC + NNM + trimmed mean holds: it keeps at least 94% of what an "
        "unattacked federation finds."
    )
    best, mean, held, unattacked = found.headlines
    assert (best.figure, best.note) == ("94%", "under the attack ALIE")
    assert (mean.label, mean.figure, mean.note) == ("Kept at worst: mean", "3%", "under the attack Replacement")
    assert held.figure == "2 of 5"
    assert unattacked.figure == "40.0%"
    assert all(headline.marked for headline in found.headlines)
    assert "one in which nobody attacked" in found.notices[0].text


def test_a_clean_run_has_no_notices(summary: dict[str, Any]) -> None:
    summary["sites"]["St. Brigid"]["drops"] = {}
    del summary["baselines"]
    assert outcome(summary).notices == ()


def test_means_over_repeats_are_told_as_such(summary: dict[str, Any]) -> None:
    assert any("means over five repeats" in notice.text for notice in outcome(summary).notices)


def test_hospital_at_rest_is_told_with_its_rounds_and_that_it_paid_no_more(summary: dict[str, Any]) -> None:
    said = "Harbour counted for less than half of its share in rounds 2 to 4 and was not asked from round 5 on"
    assert said not in texts(summary)
    summary["sites"]["Harbour"]["rests"] = {"low_rounds": [2, 3, 4], "from_round": 5}
    assert f"{said}; its patients paid nothing from then on." in texts(summary)
    summary["sites"]["Harbour"]["epsilon"] = None
    assert f"{said}." in texts(summary)
