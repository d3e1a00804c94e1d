"""The release gate: three answers from constructed counts, at the boundary, and over many draws."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from common.config.load import load_config
from common.config.schema import RunConfig
from common.errors import CheckFailed, ConfigError
from common.retrieval.paired import Paired
from server.report.fairness import release_words
from server.report.fairness.groups import ALL_SITES
from server.report.fairness.release_gate import check_released, release

Row = dict[str, Any]


def row(group: str, found: int, num: int, *, attribute: str = "sex", site: str = ALL_SITES) -> Row:
    """A group of whom so many are found by the final model, and by the start too."""
    estimate = Paired(both=found, start_only=0, final_only=0, neither=num - found).final()
    return told(group, estimate.value, (estimate.interval.low, estimate.interval.high), attribute=attribute, site=site)


def told(group: str, value: float, ends: tuple[float, float], *, attribute: str = "sex", site: str = ALL_SITES) -> Row:
    return {
        "site": site,
        "attribute": attribute,
        "group": group,
        "suppressed": False,
        "num_patients": 100,
        "metrics": {"recall_at_10": value},
        "intervals": {"recall_at_10": list(ends)},
        "difference": None,
    }


def hidden(group: str) -> Row:
    none = dict.fromkeys(("num_patients", "metrics", "intervals", "difference"))
    return {"site": ALL_SITES, "attribute": "sex", "group": group, "suppressed": True, **none}


BASE = load_config(["fairness.attributes=[sex]", "fairness.intersections=[]"])


def config_of(**asked: Any) -> RunConfig:
    return replace(BASE, fairness=replace(BASE.fairness, **asked))


def judged(rows: Sequence[Row], *, sites: dict[str, Any] | None = None, **asked: Any) -> dict[str, Any]:
    found = release(config_of(**asked), {"groups": list(rows), "sites": sites or {}, "published": "final"})
    return {"published": "final", **found}


def answer(rows: Sequence[Row], *, sites: dict[str, Any] | None = None, **asked: Any) -> str:
    (check,) = judged(rows, sites=sites, **asked)["release"]["checks"]
    return str(check["answer"])


def change(value: float, low: float, high: float) -> dict[str, Any]:
    return {"difference": {"recall_at_10": value, "low": low, "high": high}}


def test_without_a_check_nothing_is_decided() -> None:
    assert judged([row("F", 1, 100), row("M", 99, 100)]) == {"published": "final", "release": None}


@pytest.mark.parametrize(
    ("women", "expected"),
    [((500, 1000), "holds"), ((440, 1000), "cannot_tell"), ((30, 60), "cannot_tell"), ((300, 1000), "fails")],
)
def test_gap_is_judged_with_its_interval(women: tuple[int, int], expected: str) -> None:
    """Men are found in 500 of 1,000; a group may lie ten points below another."""
    assert answer([row("F", *women), row("M", 500, 1000)], max_gap=0.1) == expected


def test_gap_is_told_by_the_pair_that_decides() -> None:
    rows = [row("F", 300, 1000), row("M", 500, 1000), row("O", 2, 12)]
    (check,) = judged(rows, max_gap=0.1)["release"]["checks"]
    assert (check["group"], check["against"], check["num_compared"]) == ("F", "M", 6)
    assert check["value"] == pytest.approx(0.2)
    assert 0.1 < check["low"] < 0.2 < check["high"]
    (check,) = judged(rows, max_gap=0.4)["release"]["checks"]
    assert (check["group"], check["answer"]) == ("O", "cannot_tell"), "the group of twelve may be far below"


def test_gap_either_way_round_is_looked_at() -> None:
    """The point says M; what F may fall short of M is beyond the bound."""
    rows = [told("F", 0.5, (0.1, 0.55)), told("M", 0.5, (0.45, 0.5))]
    assert answer(rows, max_gap=0.3) == "cannot_tell"


@pytest.mark.parametrize(
    ("found", "expected"), [((500, 1000), "holds"), ((42, 100), "cannot_tell"), ((300, 1000), "fails")]
)
def test_lowest_recall_is_judged_with_its_interval(found: tuple[int, int], expected: str) -> None:
    rows = [row("F", *found), row("M", 700, 1000)]
    assert answer(rows, min_group_recall=0.4) == expected


@pytest.mark.parametrize(
    ("north", "expected"),
    [
        (change(0.05, 0.01, 0.09), "holds"),
        (change(0.05, -0.01, 0.11), "cannot_tell"),
        (change(-0.05, -0.09, -0.03), "fails"),
        ({"difference": None}, "cannot_tell"),
    ],
)
def test_no_hospital_may_lose(north: dict[str, Any], expected: str) -> None:
    sites = {"north": north, "south": change(0.2, 0.15, 0.25)}
    assert answer([], no_site_worse=True, sites=sites) == expected


def test_hospital_that_surely_loses_fails_though_another_told_nothing() -> None:
    sites = {"north": {"difference": None}, "south": change(-0.2, -0.25, -0.15)}
    assert answer([], no_site_worse=True, sites=sites) == "fails"


@pytest.mark.parametrize(
    ("ends", "expected"),
    [((0.25, 0.75), "holds"), ((0.1875, 0.75), "cannot_tell"), ((0.0, 0.25), "cannot_tell"), ((0.0, 0.1875), "fails")],
)
def test_end_of_an_interval_at_the_bound_is_within_it(ends: tuple[float, float], expected: str) -> None:
    value = sum(ends) / 2
    assert answer([told("F", value, ends)], min_group_recall=0.25) == expected
    gain = change(value - 0.25, ends[0] - 0.25, ends[1] - 0.25)
    assert answer([], no_site_worse=True, sites={"north": gain}) == expected


@pytest.mark.parametrize("rows", [[], [row("F", 500, 1000)], [row("F", 500, 1000), hidden("M")]])
def test_gap_of_fewer_than_two_shown_groups_cannot_be_told(rows: list[Row]) -> None:
    assert answer(rows, max_gap=0.1) == "cannot_tell"
    found = judged(rows, max_gap=0.1)["release"]
    assert "too few groups are shown" in found["reason"]


def test_groups_of_one_hospital_and_of_other_attributes_are_not_judged() -> None:
    rows = [row("F", 500, 1000), row("M", 500, 1000), row("M", 0, 1000, site="north")]
    assert answer([*rows, row("B", 0, 1000, attribute="scanner")], max_gap=0.1) == "holds"


def test_every_attribute_that_is_told_is_judged() -> None:
    config = config_of(epsilon=1.0, max_gap=0.1, attributes=["sex", "age_band"], intersections=["sex*age_band"])
    checks = release(config, {"groups": [], "sites": {}})["release"]["checks"]
    assert [check["attribute"] for check in checks] == ["sex", "age_band", "sex*age_band"]


OPEN = [row("F", 30, 60), row("M", 30, 60)]
"""Of these a gap of ten points cannot be told."""


def test_model_that_fails_or_cannot_be_told_is_withheld_and_does_not_look_published() -> None:
    for rows in ([row("F", 300, 1000), row("M", 500, 1000)], OPEN):
        found = judged(rows, max_gap=0.1)
        assert (found["published"], found["release"]["decision"]) == ("start", "withheld")
        with pytest.raises(CheckFailed, match=r"the model must not be published: fairness\.max_gap"):
            check_released(found)


def test_what_cannot_be_told_is_accepted_only_if_the_config_says_so() -> None:
    found = judged(OPEN, max_gap=0.1, accept_cannot_tell=True)
    assert (found["published"], found["release"]["decision"], found["release"]["reason"]) == ("final", "passed", None)
    check_released(found)
    assert release_words.passed(found) == (
        "Of one fairness check none fails; one cannot be told, which the config accepts: the model may be published."
    )
    failing = [row("F", 300, 1000), row("M", 500, 1000)]
    found = judged(failing, max_gap=0.1, accept_cannot_tell=True)
    assert found["release"]["decision"] == "withheld"
    assert "accept_cannot_tell" not in found["release"]["reason"]


def test_reason_is_one_line_with_the_figure_its_interval_and_the_remedy() -> None:
    line = judged([row("F", 300, 1000), row("M", 500, 1000)], max_gap=0.1)["release"]["reason"]
    assert line == (
        "the model must not be published: fairness.max_gap fails: sex: F lies 20.0 points below M (15.8 to 24.1), "
        "at most 10.0 points asked"
    )
    line = judged(OPEN, max_gap=0.1)["release"]["reason"]
    assert "cannot be told" in line
    assert line.endswith("fairness.accept_cannot_tell=true accepts what cannot")
    assert "\n" not in line


def test_gate_that_asks_for_groups_that_are_not_told_is_refused_in_the_config() -> None:
    with pytest.raises(ConfigError, match=r"fairness\.max_gap: no figures by group .* give fairness\.epsilon"):
        load_config(["evaluation.epsilon=1", "fairness.max_gap=0.1"])
    with pytest.raises(ConfigError, match=r"fairness\.attributes: sexx"):
        load_config(["fairness.min_group_recall=0.1", "fairness.attributes=[sexx]", "fairness.intersections=[]"])
    with pytest.raises(ConfigError, match=r"fairness\.max_gap=1\.5: out of range"):
        load_config(["fairness.max_gap=1.5"])


def _share(wanted: str, rates: tuple[float, float, float], num: int, *, ignores_intervals: bool = False) -> float:
    """Share of 1,000 draws of three groups that get an answer, at a bound of ten points."""
    rng, config = np.random.default_rng(11), config_of(max_gap=0.1)
    table = [row("", found, num) for found in range(num + 1)]
    got = 0
    for counts in rng.binomial(num, rates, size=(1000, 3)):
        rows = [copy.deepcopy(table[found]) | {"group": name} for name, found in zip("FMO", counts, strict=True)]
        if ignores_intervals:
            for one in rows:
                one["intervals"]["recall_at_10"] = [one["metrics"]["recall_at_10"]] * 2
        (check,) = release(config, {"groups": rows, "sites": {}})["release"]["checks"]
        got += check["answer"] == wanted
    return got / 1000


def test_gate_is_seldom_wrong_and_one_that_ignores_the_interval_often_is() -> None:
    """N = 1,000 draws; the gate may err in 5%, with six deviations of chance 9% (false alarms below 1e-8)."""
    beyond, within = (0.5, 0.5, 0.38), (0.5, 0.5, 0.42)
    assert _share("holds", beyond, 200) < 0.09
    assert _share("fails", within, 200) < 0.09
    assert _share("holds", beyond, 200, ignores_intervals=True) > 0.15
    assert _share("fails", within, 200, ignores_intervals=True) > 0.15


def test_gate_answers_where_there_are_enough_patients() -> None:
    assert _share("holds", (0.5, 0.5, 0.5), 2000) > 0.95
    assert _share("fails", (0.5, 0.5, 0.3), 2000) > 0.95
