"""Names in the config, and what is refused there."""

from __future__ import annotations

import pytest
import torch

from common.config.load import load_config
from common.config.schema import AggregatorConfig
from common.errors import AggregationError, ConfigError
from common.pair_noise.law import PairLaw
from strategies.composition import build_aggregator, check_cancels, check_least_sites
from tests.strategies.cohorts import aggregate, composition


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("medain", r"aggregator\.name=medain: unknown; did you mean median"),
        ("nmn+median", r"aggregator\.name=nmn: unknown; did you mean nnm"),
        ("median+nnm", r"aggregator\.name=median\+nnm: nnm is a stage; end with a rule"),
        (
            "trimmed_mean+median",
            r"aggregator\.name=trimmed_mean\+median: trimmed_mean is a rule; only stages go before",
        ),
        ("nnm+", r"aggregator\.name=: unknown"),
        ("", r"aggregator\.name=: unknown"),
        ("+median", r"aggregator\.name=: unknown"),
        ("nnm + median", r"aggregator\.name= median: unknown"),
    ],
)
def test_unknown_name_is_refused_with_the_near_ones(name: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        composition(name, 1)


def test_stages_are_applied_in_the_order_of_the_name() -> None:
    updates_SP = torch.randn(9, 30, generator=torch.Generator().manual_seed(0)) * torch.arange(1.0, 10.0)[:, None]
    assert [type(stage).__name__ for stage in composition("arc+nnm+median", 2).stages] == ["Arc", "Nnm"]
    first, second = aggregate("arc+nnm+median", updates_SP, 2), aggregate("nnm+arc+median", updates_SP, 2)
    assert (first.update_P - second.update_P).abs().max() > 1e-2


def test_refusal_names_the_rule_the_number_and_what_there_is() -> None:
    problem = (
        r"aggregator\.name=arc\+krum with aggregator\.num_byzantine=2 needs at least 7 admitted updates, there are 6"
    )
    with pytest.raises(AggregationError, match=problem):
        aggregate("arc+krum", torch.zeros(6, 2), 2)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("trimmed_mean", 6 * (2 / 6) * (1 + 2 / 6)),
        ("median", 4 * (1 + 2 / 6) ** 2),
        ("nnm+trimmed_mean", 8 * 2 / 8 * (6 * (2 / 6) * (1 + 2 / 6) + 1)),
        ("arc+nnm+trimmed_mean", 8 * 2 / 8 * (6 * (2 / 6) * (1 + 2 / 6) + 1) + 2 * 2 / 6),
        ("nnm+caf", None),
    ],
)
def test_kappa_of_a_composition_is_that_of_the_papers(name: str, expected: float | None) -> None:
    """Ten sites, two of them bad: worked out by hand."""
    assert composition(name, 2).kappa(10) == (None if expected is None else pytest.approx(expected))


def test_cohort_too_small_for_its_rule_is_refused_with_the_number_it_needs() -> None:
    config = load_config(["aggregator.name=trimmed_mean", "aggregator.num_byzantine=2"]).aggregator
    with pytest.raises(ConfigError, match="needs 5 sites for it, there are 4"):
        check_least_sites(config, 4)
    check_least_sites(config, 5)


@pytest.mark.parametrize("name", ["mean", "caf", "trimmed_mean", "nnm+trimmed_mean", "nnm+median", "geometric_median"])
def test_rule_in_which_shared_noise_cancels_passes(name: str) -> None:
    check_cancels(AggregatorConfig(name=name, num_byzantine=0 if name == "mean" else 1))


@pytest.mark.parametrize("name", ["median", "krum", "multi_krum", "bulyan", "mda", "bucketing+median"])
def test_rule_that_chooses_is_refused_in_words(name: str) -> None:
    with pytest.raises(ConfigError, match=r"privacy\.noise=shared.*takes some and leaves others"):
        check_cancels(AggregatorConfig(name=name, num_byzantine=1))


@pytest.mark.parametrize("name", ["caf", "nnm+trimmed_mean"])
def test_shared_noise_cancels_in_a_rule_that_passes(name: str) -> None:
    """Ten sites of 20,000 values: less than 60% of what as much privacy leaves by own noise; measured .44 and .50."""
    generator = torch.Generator().manual_seed(3)
    law, values = PairLaw(peers=9, colluding=1, factor=1), 20_000
    own_SP = torch.randn(10, values, generator=generator)
    shared_SP = law.own(1.0) * torch.randn(10, values, generator=generator)
    for i in range(10):
        for j in range(i + 1, 10):
            both_P = law.own(1.0) * torch.randn(values, generator=generator)
            shared_SP[i] += both_P
            shared_SP[j] -= both_P
    rule = build_aggregator(AggregatorConfig(name=name, num_byzantine=1), seed=0)
    own, shared = (rule.aggregate(one, torch.ones(10), rule.init()).update_P.std() for one in (own_SP, shared_SP))
    assert shared < 0.6 * own
