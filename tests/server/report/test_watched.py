"""What the report says of the watch on public studies."""

from __future__ import annotations

import math
from typing import Any

import pytest

from server.report import sentences
from server.report.outcome import outcome
from server.report.render import render
from server.report.summary import validate
from server.report.watched import watched_figure, watched_rounds

BACK = (4, 7)


def seen(number: int) -> dict[str, Any]:
    back = number in BACK
    step = 0.5 ** sum(number >= one for one in BACK)
    return {"value": -2.0 + 0.01 * number, "difference": 0.01, "error": 0.02, "stepped_back": back, "step": step}


@pytest.fixture
def watched(summary: dict[str, Any], rounds: list[dict[str, Any]]) -> dict[str, Any]:
    for line in rounds:
        line["validation"] = seen(line["round"])
    found = {"start": -2.0, "final": -1.88, "best_round": 12, "step": 0.25, "stepped_back": list(BACK)}
    return summary | {"public_validation": found}


def test_summary_may_hold_it(watched: dict[str, Any], summary: dict[str, Any]) -> None:
    validate(watched)
    validate(summary | {"public_validation": None})


def test_rounds_are_told_with_the_start_before_them(watched: dict[str, Any], rounds: list[dict[str, Any]]) -> None:
    found = watched_rounds(watched, rounds)
    assert [one.number for one in found] == list(range(13))
    assert found[0].probability == pytest.approx(math.exp(-2.0))
    assert [one.number for one in found if one.stepped_back] == [4, 7]
    assert [found[number].step for number in (3, 4, 7)] == [1.0, 0.5, 0.25]
    lines = watched_figure(found)["data"]
    assert [len(line["x"]) for line in lines] == [11, 2]


def test_page_and_first_screen_say_where_the_server_went_back(
    watched: dict[str, Any], rounds: list[dict[str, Any]]
) -> None:
    sentence = sentences.stepped_back(watched)
    assert sentence is not None
    assert sentence.startswith("In two rounds of twelve the model fell below the best one on public studies (4 and 7)")
    page = render(watched, rounds)
    assert page.count(sentence) == 2
    assert page.count("<td>thrown away</td>") == 2
    assert any(notice.text == sentence for notice in outcome(watched).notices)


def test_run_that_never_went_back_says_so(watched: dict[str, Any], rounds: list[dict[str, Any]]) -> None:
    for line in rounds:
        line["validation"]["stepped_back"] = False
    watched["public_validation"]["stepped_back"] = []
    assert sentences.stepped_back(watched) is None
    assert "No round was thrown away." in render(watched, rounds)


def test_nothing_is_said_where_nobody_watched(summary: dict[str, Any], rounds: list[dict[str, Any]]) -> None:
    assert watched_rounds(summary, rounds) == []
    assert sentences.stepped_back(summary) is None
    assert "on public studies" not in render(summary, rounds)


def test_model_without_numbers_has_no_point(watched: dict[str, Any], rounds: list[dict[str, Any]]) -> None:
    rounds[3]["validation"] |= {"value": None, "difference": None, "error": None}
    assert watched_rounds(watched, rounds)[4].probability is None
    assert "nan" not in render(watched, rounds).lower().split("<script")[0]
