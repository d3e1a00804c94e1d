"""Names in the config, and what is refused there."""

from __future__ import annotations

import pytest
import torch

from common.config.load import load_config
from common.errors import AggregationError, ConfigError
from strategies.composition import check_least_sites
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
