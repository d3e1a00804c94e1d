"""From `aggregator.name` to the rule: a rule, or stages and a rule joined by plus signs."""

from __future__ import annotations

from common.config.schema import AggregatorConfig
from strategies.interface import AGGREGATORS, Aggregator


def build_aggregator(config: AggregatorConfig, *, seed: int) -> Aggregator:  # noqa: ARG001
    """The rule of a run.

    Args:
        config: Its composition and how many bad sites it must bear.
        seed: Of the stages that draw; the same seed gives the same result.

    Raises:
        ConfigError: A name is unknown, or the rule bears no bad site.
    """
    return AGGREGATORS.load(config.name)(num_byzantine=config.num_byzantine)
