"""Groups of a private run: what is told of them, and how sure it is."""

from __future__ import annotations

import numpy as np
import pytest

from common.config.load import load_config
from common.config.schema import RunConfig
from common.fairness.marginals import marginals_of
from common.privacy.count_noise import UNITS, LaplaceCountNoise
from common.privacy.held_out import group_noise_of
from common.retrieval.paired import CELLS
from server.checkpoint import RunState, SiteHistory
from server.report import words
from server.report.group_table import GroupCounts
from server.report.groups import noised_groups, rows_of
from tests.server.report.small_table import FEW_UNKNOWN, exact_table


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
        "difference": None,
    }


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
