"""Group statistics, against means taken straight from the queries; and what a damaged message may not do."""

from __future__ import annotations

import json
from functools import reduce
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from common.canonical import canonical_json
from common.errors import AdmissionError
from common.fairness.statistics import (
    EVERYONE,
    GroupStatistics,
    SiteStatistics,
    site_statistics,
)

METRICS = ("recall_at_10", "mrr")


def site(num_patients: int, seed: int) -> tuple[dict[str, np.ndarray], list[str], list[dict[str, str]]]:
    """A site's queries: one to three a patient, sex missing now and then, the scanner changing by study."""
    generator = np.random.default_rng(seed)
    patients: list[str] = []
    groups: list[dict[str, str]] = []
    for patient in range(num_patients):
        sex = generator.choice(["F", "M", ""], p=[0.5, 0.3, 0.2])
        for _ in range(generator.integers(1, 4)):
            patients.append(f"{seed}-{patient}")
            scanner = {"scanner": str(generator.choice(["one", "two", "rare"], p=[0.6, 0.37, 0.03]))}
            groups.append(scanner | ({"sex": str(sex)} if sex else {}))
    return {metric: generator.random(len(patients)) for metric in METRICS}, patients, groups


def statistics_of(num_patients: int, seed: int) -> SiteStatistics:
    values, patients, groups = site(num_patients, seed)
    return site_statistics(values, patients=patients, groups=groups)


def assert_close(first: SiteStatistics, second: SiteStatistics) -> None:
    assert first.suppressed == second.suppressed
    assert first.groups.keys() == second.groups.keys()
    for attribute, by_name in first.groups.items():
        assert by_name.keys() == second.groups[attribute].keys()
        for name, group in by_name.items():
            other = second.groups[attribute][name]
            assert (group.num_queries, group.num_patients) == (other.num_queries, other.num_patients)
            assert group.sums == pytest.approx(other.sums)


def test_statistics_equal_the_queries_of_each_group() -> None:
    values, patients, groups = site(80, seed=1)
    statistics = site_statistics(values, patients=patients, groups=groups)
    for attribute, by_name in statistics.groups.items():
        for name, group in by_name.items():
            member = np.array([attribute == EVERYONE or one.get(attribute) == name for one in groups])
            assert group.num_queries == member.sum()
            assert group.num_patients == len(set(np.array(patients)[member]))
            for metric in METRICS:
                assert group.mean(metric) == pytest.approx(values[metric][member].mean())
    assert {attribute: set(by_name) for attribute, by_name in statistics.groups.items()} == {
        EVERYONE: {EVERYONE},
        "sex": {"F", "M"},
        "scanner": {"one", "two", "rare"},
    }


def test_merging_sites_equals_one_site_with_all_their_patients() -> None:
    sites = [site(30 + seed, seed) for seed in range(4)]
    merged = reduce(SiteStatistics.merge, [statistics_of(30 + seed, seed) for seed in range(4)], SiteStatistics())
    together = site_statistics(
        {metric: np.concatenate([values[metric] for values, _, _ in sites]) for metric in METRICS},
        patients=[patient for _, patients, _ in sites for patient in patients],
        groups=[group for _, _, groups in sites for group in groups],
    )
    assert_close(merged, together)


def test_merge_is_commutative_and_associative_and_empty_changes_nothing() -> None:
    parts = [
        statistics_of(20, seed=1),
        statistics_of(40, seed=2).suppress(),
        statistics_of(5, seed=3).suppress(),
    ]
    expected = parts[0].merge(parts[1]).merge(parts[2])
    for one, two, three in permutations(parts):
        assert_close(one.merge(two.merge(three)), expected)
    for part in parts:
        assert part.merge(SiteStatistics()) == part == SiteStatistics().merge(part)


def test_merge_refuses_groups_of_different_metrics() -> None:
    one, other = GroupStatistics(1, 1, {"mrr": 0.5}), GroupStatistics(1, 1, {"map": 0.5})
    with pytest.raises(ValueError, match="map"):
        one.merge(other)


def test_suppress_keeps_no_trace_of_a_small_group() -> None:
    statistics = statistics_of(120, seed=4)
    assert 0 < statistics.groups["scanner"]["rare"].num_patients < 11
    shown = statistics.suppress()
    assert set(shown.groups["scanner"]) == {"one"}  # "two" goes with "rare", which it hides
    assert shown.suppressed == {"scanner"}
    assert shown.groups["sex"] == statistics.groups["sex"]
    assert b"rare" not in canonical_json(shown.as_json())
    assert shown.suppress() == shown


def test_suppress_hides_a_small_site_altogether() -> None:
    shown = statistics_of(10, seed=5).suppress()
    assert shown.suppressed == {EVERYONE, "sex", "scanner"}
    assert all(not by_name for by_name in shown.groups.values())


def test_suppress_hides_how_few_lack_an_attribute() -> None:
    groups = [{"sex": "F"}] * 20 + [{"sex": "M"}] * 30 + [{}] * 5
    statistics = site_statistics({"mrr": np.ones(55)}, patients=[str(i) for i in range(55)], groups=groups)
    assert set(statistics.suppress().groups["sex"]) == {"M"}


def test_suppress_counts_patients_and_not_studies() -> None:
    patients = [f"many-{i // 5}" for i in range(50)]  # 50 studies of 10 patients
    statistics = site_statistics({"mrr": np.ones(50)}, patients=patients, groups=[{}] * 50)
    assert not statistics.suppress().groups[EVERYONE]


@pytest.mark.parametrize("values", [[0.5], [0.5, 1.5], [0.5, -0.1], [0.5, np.nan]])
def test_site_statistics_refuse_values_that_are_no_rates(values: list[float]) -> None:
    with pytest.raises(ValueError, match="mrr: needs one value"):
        site_statistics({"mrr": np.array(values)}, patients=["a", "b"], groups=[{}, {}])


def test_statistics_survive_json() -> None:
    for statistics in (SiteStatistics(), statistics_of(50, seed=6), statistics_of(120, seed=4).suppress()):
        assert SiteStatistics.from_json(json.loads(canonical_json(statistics.as_json()))) == statistics


GOOD_GROUP = {"num_queries": 4, "num_patients": 3, "sums": {"mrr": 2.5}}


@pytest.mark.parametrize(
    "change",
    [
        {"num_queries": 2},
        {"num_queries": True},
        {"num_queries": 10**400},
        {"num_patients": 0},
        {"num_patients": -1},
        {"num_patients": 3.0},
        {"num_patients": "3"},
        {"sums": []},
        {"sums": {"mrr": 4.1}},
        {"sums": {"mrr": -0.1}},
        {"sums": {"mrr": float("nan")}},
        {"sums": {"mrr": float("inf")}},
        {"sums": {"mrr": None}},
        {"more": 1},
    ],
)
def test_from_json_refuses_an_impossible_group(change: dict[str, Any]) -> None:
    assert GroupStatistics.from_json(GOOD_GROUP) == GroupStatistics(4, 3, {"mrr": 2.5})
    with pytest.raises(AdmissionError, match="fairness statistics"):
        GroupStatistics.from_json(GOOD_GROUP | change)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"groups": {}},
        {"groups": [], "suppressed": []},
        {"groups": {"sex": []}, "suppressed": []},
        {"groups": {"sex": {"F": None}}, "suppressed": []},
        {"groups": {"shoe size": {}}, "suppressed": []},
        {"groups": {}, "suppressed": ["shoe size"]},
        {"groups": {}, "suppressed": [["sex"]]},
        {"groups": {}, "suppressed": {"sex": ["F"]}},
    ],
)
def test_from_json_refuses_what_is_no_site(value: Any) -> None:
    with pytest.raises(AdmissionError, match="fairness statistics"):
        SiteStatistics.from_json(value)
