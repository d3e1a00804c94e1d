"""Groups of a private run: consistent counts, what is suppressed and whether it can be told all the same, intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize

from common.config.load import load_config
from common.config.schema import RunConfig
from common.fairness.marginals import Marginal, marginals_of
from common.privacy.count_noise import UNITS, LaplaceCountNoise
from common.privacy.held_out import group_noise_of
from common.retrieval.paired import CELLS
from server.checkpoint import RunState, SiteHistory
from server.report import words
from server.report.groups import (
    ALL_SITES,
    LEAST_RANGE,
    GroupCounts,
    fairness_of,
    noised_groups,
    rows_of,
    suppressed,
    width_of,
)

SMALL = (
    Marginal(("sex",), (("F", "M", "unknown"),)),
    Marginal(("age_band",), (("young", "old"),)),
    Marginal(("sex", "age_band"), (("F", "M", "unknown"), ("young", "old"))),
)


def exact_table(crossed: NDArray[np.float64], found: float = 0.5) -> GroupCounts:
    """A table without noise from the number of patients by sex and age, `[3, 2]`, of whom a share is found by both."""
    number_G = np.concatenate([crossed.sum(axis=1), crossed.sum(axis=0), crossed.ravel()])
    counts = np.outer(number_G, [found, 0.0, 0.0, 1 - found])
    return GroupCounts(SMALL, counts, np.zeros((len(number_G), len(number_G))))


FEW_UNKNOWN = np.array([[60.0, 80.0], [50.0, 60.0], [2.0, 3.0]])


def names(hidden: frozenset[int]) -> set[str]:
    groups = [group for marginal in SMALL for group in marginal.groups]
    return {groups[group] for group in hidden}


def noisy_table(rng: np.random.Generator, deviation: float) -> GroupCounts:
    exact = exact_table(np.array([[60.0, 80.0], [50.0, 90.0], [12.0, 30.0]]))
    noise = rng.normal(0, deviation, exact.counts.shape)
    return GroupCounts(SMALL, exact.counts + noise, deviation**2 * np.eye(len(noise)))


def test_consistent_counts_are_the_nearest_that_agree() -> None:
    """Against an optimiser that knows the fifteen counts only by the six that make them."""
    table = noisy_table(np.random.default_rng(1), 5.0)
    crossing = np.zeros((11, 6))
    for sex in range(3):
        for age in range(2):
            cell = 2 * sex + age
            crossing[[sex, 3 + age, 5 + cell], cell] = 1
    consistent = table.consistent()
    for cell in range(len(CELLS)):
        told = table.counts[:, cell]
        best = minimize(lambda base, told=told: ((crossing @ base - told) ** 2).sum(), np.zeros(6), tol=1e-12).x
        assert consistent.counts[:, cell] == pytest.approx(crossing @ best, abs=1e-3)


def test_variance_after_agreeing_is_that_of_many_tables() -> None:
    """2,000 tables of four cells: each group's variance within 10% (4.5 deviations: false alarms 8e-5)."""
    rng = np.random.default_rng(2)
    tables = [noisy_table(rng, 5.0).consistent() for _ in range(2000)]
    exact = exact_table(np.array([[60.0, 80.0], [50.0, 90.0], [12.0, 30.0]]))
    variances = np.mean([(table.counts - exact.counts) ** 2 for table in tables], axis=(0, 2))
    assert variances == pytest.approx(np.diag(tables[0].covariance), rel=0.1)
    assert np.diag(tables[0].covariance).max() < 25 * 0.7


def test_small_group_is_hidden_and_not_the_remainder_of_others() -> None:
    """Without noise the sum over sexes gives a lone hidden group away, so the next smallest is hidden with it."""
    table = exact_table(FEW_UNKNOWN)
    small = {2, 9, 10}  # unknown, and its two crossings
    assert width_of(table, small, 2) < LEAST_RANGE
    hidden = suppressed(table, least=11)
    assert small < hidden
    assert {"unknown", "M"} <= names(hidden)
    for group in hidden:
        assert width_of(table, hidden, group) >= LEAST_RANGE


@pytest.mark.parametrize("seed", range(12))
def test_no_hidden_count_can_be_told_from_what_is_shown(seed: int) -> None:
    """Random tables of patients, without noise: the hardest case for suppression."""
    rng = np.random.default_rng(seed)
    table = exact_table(rng.integers(0, 40, (3, 2)).astype(float))
    hidden = suppressed(table, least=11)
    shown = [group for group in range(len(table.counts)) if group not in hidden]
    assert all(table.num_patients[group] >= 11 for group in shown)
    assert all(width_of(table, hidden, group) >= LEAST_RANGE for group in hidden) or not shown


def test_noise_hides_what_suppression_need_not() -> None:
    """With noise of ten patients a count the tables give away by subtraction says little: nothing more is hidden."""
    table = exact_table(FEW_UNKNOWN)
    noisy = GroupCounts(SMALL, table.counts, 25 * np.eye(len(table.counts))).consistent()
    assert {"F", "M"}.isdisjoint(names(suppressed(noisy, least=11)))


def test_rows_say_what_is_shown_and_nothing_of_the_rest() -> None:
    rows = rows_of(exact_table(FEW_UNKNOWN), site="north", least=11)
    by_name = {(row["attribute"], row["group"]): row for row in rows}
    assert by_name["sex", "F"]["num_patients"] == 140
    assert by_name["sex", "F"]["metrics"]["recall_at_10"] == pytest.approx(0.5)
    assert by_name["sex", "unknown"] == {
        "site": "north",
        "attribute": "sex",
        "group": "unknown",
        "suppressed": True,
        "num_patients": None,
        "metrics": None,
        "intervals": None,
    }


def row(group: str, rate: float, reach: float) -> dict[str, Any]:
    ends = {"recall_at_10": [max(rate - reach, 0), min(rate + reach, 1)]}
    return {
        "site": ALL_SITES,
        "attribute": "sex",
        "group": group,
        "suppressed": False,
        "metrics": {"recall_at_10": rate},
        "intervals": ends,
    }


def test_gap_is_the_surest_one_and_not_that_of_a_group_nobody_knows() -> None:
    found = fairness_of([row("F", 0.6, 0.04), row("M", 0.4, 0.04), row("O", 0.1, 0.9)])["sex"]
    assert found["worst_group"]["group"] == "M"
    assert found["gap"] == pytest.approx(0.2)
    low, high = found["gap_interval"]
    assert 0.1 < low < 0.2 < high < 0.3
    assert fairness_of([row("F", 0.5, 0.1), row("M", 0.45, 0.1)])["sex"]["gap_interval"][0] == 0


@pytest.fixture
def config() -> RunConfig:
    return load_config(["evaluation.epsilon=1", "fairness.epsilon=1", "fairness.intersections=[]"])


def hospital(config: RunConfig, rng: np.random.Generator, rates: dict[str, float], each: int) -> list[float]:
    """What a hospital tells: so many patients of each sex, of whom a share is found by the final model alone."""
    noise = group_noise_of(config)
    assert isinstance(noise, LaplaceCountNoise)
    found = {group: int(rng.binomial(each, rate)) for group, rate in rates.items()}
    counts = []
    for marginal in marginals_of(config.fairness):
        by_group = found if marginal.name == "sex" else {marginal.groups[0]: sum(found.values())}
        size = each if marginal.name == "sex" else each * len(rates)
        counts += [
            [0, 0, by_group[group], size - by_group[group]] if group in by_group else [0, 0, 0, 0]
            for group in marginal.groups
        ]
    told: list[float] = (noise.laplace.noised(UNITS * np.array(counts, dtype=np.int64)) / UNITS).ravel().tolist()
    return told


def state_of(told: dict[str, list[float]]) -> RunState:
    state = RunState("0" * 64, 1, {"model": {}, "aggregator": {}, "optimizer": {}})
    state.groups.update(told)
    state.sites.update((site, SiteHistory("512-1023")) for site in told)
    return state


@pytest.mark.parametrize(("num_sites", "most_off"), [(1, 0.055), (5, 0.025)])
def test_intervals_hold_noise_and_patients(config: RunConfig, num_sites: int, most_off: float) -> None:
    """500 releases of 300 patients a group, two groups each: coverage at 95% of 93 to 97% (2.9 deviations)."""
    rng, held, errors = np.random.default_rng(7), [], []
    noise, marginals, rates = group_noise_of(config), marginals_of(config.fairness), {"F": 0.6, "M": 0.45}
    assert noise is not None
    for _ in range(500):
        told = np.sum([hospital(config, rng, rates, 300) for _ in range(num_sites)], axis=0).reshape(-1, len(CELLS))
        table = GroupCounts(marginals, told, num_sites * noise.variance * np.eye(len(told))).consistent()
        for group, rate in enumerate(rates.values()):
            final = table.paired(group).final()
            held.append(final.interval.low <= rate <= final.interval.high)
            errors.append(final.value - rate)
    assert 0.93 <= np.mean(held) <= 0.97
    assert np.sqrt(np.mean(np.square(errors))) <= most_off


def test_planted_gap_is_named_and_none_is_not(config: RunConfig) -> None:
    """One seed: a gap is seen where there is none in one run of twenty at most."""
    rng = np.random.default_rng(4)
    planted = {f"site-{n}": hospital(config, rng, {"F": 0.7, "M": 0.3}, 200) for n in range(5)}
    even = {f"site-{n}": hospital(config, rng, {"F": 0.5, "M": 0.5}, 200) for n in range(5)}
    found, none = (noised_groups(config, state_of(told)) for told in (planted, even))
    assert found is not None
    assert none is not None
    assert found.fairness["sex"]["worst_group"]["group"] == "M"
    assert found.fairness["sex"]["gap_interval"][0] > 0.2
    sentences = [words.served_worse({"groups_noise": one.noise, "fairness": one.fairness}) for one in (found, none)]
    assert str(sentences[0]).startswith("Served worse: M (")
    assert str(sentences[1]).startswith("It cannot be told")
    assert none.fairness["sex"]["gap_interval"][0] == 0


def test_run_that_tells_none_has_none(config: RunConfig) -> None:
    assert noised_groups(config, state_of({})) is None
    assert noised_groups(load_config([]), state_of({"a": [0.0]})) is None


@pytest.mark.parametrize(("place", "lie"), [(0, 1e6), (3, -1e6), (-1, 5000.0)])
def test_hospital_whose_counts_cannot_be_is_left_out(config: RunConfig, place: int, lie: float) -> None:
    rng = np.random.default_rng(5)
    honest = {f"site-{n}": hospital(config, rng, {"F": 0.5, "M": 0.5}, 200) for n in range(3)}
    liar = hospital(config, rng, {"F": 0.5, "M": 0.5}, 200)
    liar[place] = lie
    alone, beside = (noised_groups(config, state_of(told)) for told in (honest, {**honest, "liar": liar}))
    assert alone is not None
    assert beside is not None
    assert (alone.noise["num_left_out"], beside.noise["num_left_out"]) == (0, 1)
    assert beside.rows == alone.rows
