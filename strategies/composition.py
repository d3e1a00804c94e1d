"""From `aggregator.name` to an aggregator: a rule, or stages and a rule joined by plus signs, `arc+nnm+trimmed_mean`.

Shapes: S sites, P trained parameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from common.config.schema import AggregatorConfig
from common.errors import AggregationError, ConfigError
from common.seeds import derive_seed
from strategies.blocks import one_thread
from strategies.cohort import Cohort
from strategies.interface import RULES, STAGES, Aggregate, Rule, Stage, State

CALLS = "calls"
"""Name in the state of the number of rounds aggregated so far: a stage that draws, draws anew in each."""


def build_aggregator(config: AggregatorConfig, *, seed: int) -> Composition:
    """The aggregator of a run.

    Args:
        config: Its composition and how many bad sites it must bear.
        seed: Of the stages that draw; the same seed gives the same result.

    Raises:
        ConfigError: A name is unknown, or the rule bears no bad site.
    """
    *before, last = config.name.split("+")
    if last in STAGES.names:
        raise ConfigError(f"aggregator.name={config.name}: {last} is a stage; end with a rule, as in {last}+median")
    if first := next((name for name in before if name in RULES.names), None):
        raise ConfigError(f"aggregator.name={config.name}: {first} is a rule; only stages go before the last name")
    rule = RULES.load(last)()
    if math.isinf(rule.least_points(config.num_byzantine)):
        raise ConfigError(
            f"aggregator.num_byzantine={config.num_byzantine}: the {last} bears no bad site; set it to 0, or use "
            "aggregator.name=nnm+trimmed_mean"
        )
    return Composition(
        name=config.name,
        stages=tuple(STAGES.load(name)() for name in before),
        rule=rule,
        num_byzantine=config.num_byzantine,
        seed=seed,
    )


def check_least_sites(config: AggregatorConfig, num_sites: int) -> None:
    """Refuse a cohort that is too small for its rule, before anybody trains.

    Raises:
        ConfigError: It is, or the rule is none.
    """
    rule = build_aggregator(config, seed=0)
    if num_sites < rule.least_sites:
        raise ConfigError(
            f"aggregator.num_byzantine={config.num_byzantine}: {rule.name} needs {rule.least_sites} sites "
            f"for it, there are {num_sites}; lower it, or use aggregator.name=mean aggregator.num_byzantine=0, which "
            "bears no bad site"
        )


def check_cancels(config: AggregatorConfig) -> None:
    """Refuse a rule in whose result the noise that sites share would not cancel.

    Raises:
        ConfigError: It would not, or the rule is none.
    """
    rule = build_aggregator(config, seed=0)
    if not rule.cancels:
        raise ConfigError(
            f"privacy.noise=shared: what two sites share cancels in a sum over all of them, and {rule.name} takes some "
            "and leaves others; use aggregator.name=caf or nnm+trimmed_mean, or privacy.noise=own"
        )


@dataclass(frozen=True, kw_only=True)
class Composition:
    """Stages and a rule, as one aggregator.

    Attributes:
        name: As in the config.
        stages: In the order in which they are applied.
        rule: What makes one update of what they leave.
        num_byzantine: f.
        seed: Of the stages that draw.
    """

    name: str
    stages: tuple[Stage, ...]
    rule: Rule
    num_byzantine: int
    seed: int

    def init(self) -> State:
        """State before the first round."""
        return {CALLS: torch.zeros((), dtype=torch.int64), **self.rule.init()}

    def aggregate(
        self, updates_SP: Tensor, weights_S: Tensor, state: State, *, scales_S: Tensor | None = None
    ) -> Aggregate:
        """See `Aggregator`."""
        calls = int(state[CALLS])
        if len(updates_SP) < self.least_sites:
            raise AggregationError(
                f"aggregator.name={self.name} with aggregator.num_byzantine={self.num_byzantine} needs at least "
                f"{self.least_sites} admitted updates, there are {len(updates_SP)}"
            )
        try:
            with one_thread():
                cohort = Cohort.of(updates_SP, weights_S, num_byzantine=self.num_byzantine, scales_A=scales_S)
                found = self._apply(cohort, state, calls)
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            raise AggregationError(
                f"aggregator.name={self.name}: the eigenvalues of the updates' products cannot be found"
            ) from error
        return replace(found, state=found.state | {CALLS: torch.tensor(calls + 1)})

    def _apply(self, cohort: Cohort, state: State, calls: int) -> Aggregate:
        for number, stage in enumerate(self.stages):
            seed = derive_seed(self.seed, "aggregation", number, calls)
            cohort = cohort.mixed(stage.mixing(cohort.points, cohort.num_byzantine, seed=seed))
        return self.rule.apply(cohort, state)

    @property
    def cancels(self) -> bool:
        """Whether noise that two sites add with opposite signs cancels in the result."""
        return self.rule.cancels or any(stage.cancels for stage in self.stages)

    @property
    def least_sites(self) -> int:
        """Fewest admitted updates with which it can bear f bad sites."""
        return next(n for n in range(1, 10**6) if self._bears(n, self.num_byzantine))

    def max_byzantine(self, num_sites: int) -> int:
        """The greatest f that the rule bears among the points that the stages leave; -1 where not even none."""
        return next((f for f in range((num_sites - 1) // 2, -1, -1) if self._bears(num_sites, f)), -1)

    def kappa(self, num_sites: int) -> float | None:
        """The kappa that is proven for the whole; None where none is."""
        sizes = [num_sites]
        for stage in self.stages:
            sizes.append(stage.num_points(sizes[-1], self.num_byzantine))
        found = self.rule.kappa(sizes[-1], self.num_byzantine)
        for stage, size in zip(reversed(self.stages), reversed(sizes[:-1]), strict=True):
            found = stage.kappa(found, size, self.num_byzantine)
        return found

    def _bears(self, num_sites: int, num_byzantine: int) -> bool:
        left = num_sites
        for stage in self.stages:
            left = stage.num_points(left, num_byzantine)
        return left >= self.rule.least_points(num_byzantine)
