"""Groups of a private run: what is told of them, and how sure it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from common.config.load import load_config
from common.config.schema import RunConfig
from common.fairness.scores import NUM_BINS
from common.fairness.table import table_of
from common.privacy.count_noise import UNITS, LaplaceCountNoise
from common.privacy.held_out import group_noise_of
from common.privacy.keystream import KEY_BYTES, Keystream
from server.checkpoint import RunState, SiteHistory
from server.report import sentences
from server.report.fairness.groups import ALL_SITES, noised_groups, rows_of
from tests.server.report.fairness.small_table import FEW_UNKNOWN, exact_table


def test_rows_say_what_is_shown_and_nothing_of_the_rest() -> None:
    rows = rows_of(exact_table(FEW_UNKNOWN), {2, 9, 10}, site="north")
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
        "within": None,
    }
    assert by_name["sex*age_band", "unknown * old"]["within"] == {"attribute": "age_band", "group": "old"}


@pytest.fixture
def config() -> RunConfig:
    return load_config(["evaluation.epsilon=1", "fairness.epsilon=1", "fairness.intersections=[]"])


def hospital(config: RunConfig, rng: np.random.Generator, rates: dict[str, float], each: int) -> list[float]:
    """What a hospital tells: so many patients of each sex, of whom a share is found by the final model alone.

    Scores of all pairs: half of the relevant ones in the highest bin, and the irrelevant ones in the lowest.
    """
    noise, form = group_noise_of(config), table_of(config.fairness)
    assert isinstance(noise, LaplaceCountNoise)
    found = {group: int(rng.binomial(each, rate)) for group, rate in rates.items()}
    counts = []
    for marginal in form.marginals:
        by_group = found if marginal.name == "sex" else {marginal.groups[0]: sum(found.values())}
        size = each if marginal.name == "sex" else each * len(rates)
        counts += [
            [0, 0, by_group[group], size - by_group[group]] if group in by_group else [0, 0, 0, 0]
            for group in marginal.groups
        ]
    exact = [cell for cells in counts for cell in cells]
    for marginal in form.scored:
        sizes = [each if group in rates else 0 for group in marginal.groups]
        exact += [part for size in sizes for part in ([size // 2, *[0] * (NUM_BINS - 2), size - size // 2])]
        exact += [part for size in sizes for part in ([size, *[0] * (NUM_BINS - 1)])]
    laplace = replace(noise.laplace, stream=lambda: Keystream(rng.bytes(KEY_BYTES)))
    told: list[float] = (laplace.noised(UNITS * np.array(exact, dtype=np.int64)) / UNITS).tolist()
    return told


def state_of(told: dict[str, list[float]]) -> RunState:
    state = RunState("0" * 64, 1, {"model": {}, "aggregator": {}, "optimizer": {}})
    state.groups.update(told)
    state.sites.update((site, SiteHistory("512-1023")) for site in told)
    return state


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
    told = [sentences.served_worse({"groups_noise": one.noise, "fairness": one.fairness}) for one in (found, none)]
    assert str(told[0]).startswith("Served worse: M (")
    assert str(told[1]).startswith("It cannot be told")
    assert none.fairness["sex"]["gap_interval"][0] == 0


def test_scores_are_told_of_their_attribute_alone(config: RunConfig) -> None:
    """A thousand patients of each sex: half of the right pairs found, and none of the wrong ones."""
    rng = np.random.default_rng(6)
    told = {f"site-{n}": hospital(config, rng, {"F": 0.5, "M": 0.5}, 500) for n in range(3)}
    found = noised_groups(config, state_of(told))
    assert found is not None
    rows = {(row["site"], row["attribute"], row["group"]): row for row in found.rows}
    women = rows[ALL_SITES, "sex", "F"]
    for name, value in {"true_positive_rate": 0.5, "false_positive_rate": 0.0, "auroc": 0.75}.items():
        low, high = women["intervals"][name]
        assert low <= value <= high
        assert women["metrics"][name] == pytest.approx(value, abs=0.1)
    assert found.fairness["sex"]["scores"]["equalised_odds"]["gap_interval"][0] == 0
    assert "auroc" not in rows[ALL_SITES, "age_band", "0-17"]["metrics"]


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
