"""What the server asks of aggregation, and what a rule and a stage before it offer.

An *aggregator* is a pure, deterministic function of the updates and its own explicit state: plain named arrays, so
that a checkpoint holds it and a resumed run goes on bit by bit. It is made of *stages* and one *rule*
(`strategies/composition.py`): each stage replaces the updates by combinations of them, the rule makes one of what is
left.

Robustness: a rule is (f, kappa)-robust if for every set G of S - f updates
`||result - mean(G)||^2 <= kappa * mean over G of ||x - mean(G)||^2`, whatever the f others are (Allouah et al., AISTATS
2023, Definition 2). No rule has kappa below f / (S - 2f).

Shapes: S sites of the cohort, T points that a rule sees, P trained parameters.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor

from common.config.registry import Registry
from strategies.cohort import Cohort
from strategies.gram import Points

State = dict[str, Tensor]


@dataclass(frozen=True)
class Aggregate:
    """What a rule makes of one round's updates.

    Attributes:
        update_P: The aggregated update, float32.
        site_weights_S: Share of each site in it; sums to 1.
        state: State for the next round.
    """

    update_P: Tensor
    site_weights_S: Tensor
    state: State


class Aggregator(Protocol):
    """From the updates of a round to one."""

    def init(self) -> State:
        """State before the first round."""
        ...

    def aggregate(
        self, updates_SP: Tensor, weights_S: Tensor, state: State, *, scales_S: Tensor | None = None
    ) -> Aggregate:
        """One update from the admitted updates `[S, P]`, float32.

        Args:
            updates_SP: Admitted updates.
            weights_S: Public weights, positive, from patient bands; only the mean uses them.
            state: State that `init` or the last call gave.
            scales_S: Positive; each update is multiplied by its own, over their mean, before any rule sees it. None
                leaves them as they are.

        Raises:
            AggregationError: The cohort is too small for the bad sites that must be borne, or more than these are
                not finite.
        """
        ...

    def max_byzantine(self, num_sites: int) -> int:
        """The most sites that may send anything without steering the result, in a cohort of `num_sites`."""
        ...


class Rule(ABC):
    """Makes one update of a cohort's points.

    Attributes:
        cancels: Whether noise that two sites add with opposite signs cancels in the result, nearly all of it: so it
        does
            where nearly all points count, nearly alike, and not where some are chosen.
    """

    cancels: ClassVar[bool] = False

    @abstractmethod
    def least_points(self, num_byzantine: int) -> float:
        """Fewest points among which it bears so many bad ones; infinite where it bears none."""

    def kappa(self, num_points: int, num_byzantine: int) -> float | None:  # noqa: ARG002 - for the rules that have one
        """The kappa that is proven for it, in a cohort that is large enough; None where none is."""
        return None

    def init(self) -> State:
        """State before the first round."""
        return {}

    @abstractmethod
    def apply(self, cohort: Cohort, state: State) -> Aggregate:
        """See `Aggregator.aggregate`; the cohort is large enough."""


class WeighingRule(Rule):
    """A rule that only looks at where the points stand, and answers with a weight for each."""

    @abstractmethod
    def weights(self, points: Points, num_byzantine: int) -> Tensor:
        """Weight of each point `[T]`, float64; they sum to 1.

        Args:
            points: T points and the origin.
            num_byzantine: f.
        """

    def apply(self, cohort: Cohort, state: State) -> Aggregate:
        """The combination with these weights."""
        weights_T = self.weights(cohort.points, cohort.num_byzantine)
        return Aggregate(cohort.weighted_sum(weights_T), cohort.site_weights(weights_T), state)


class Stage(ABC):
    """Replaces the points of a cohort by combinations of them.

    Attributes:
        cancels: Whether each combination holds nearly all points, nearly alike: whatever rule follows, noise that two
            sites add with opposite signs then cancels.
    """

    cancels: ClassVar[bool] = False

    def num_points(self, num_points: int, num_byzantine: int) -> int:  # noqa: ARG002 - for the stages that need it
        """How many points are left of so many."""
        return num_points

    def kappa(self, kappa: float | None, num_points: int, num_byzantine: int) -> float | None:  # noqa: ARG002
        """The kappa that is proven for a rule with some kappa behind this stage; None where none is."""
        return None

    @abstractmethod
    def mixing(self, points: Points, num_byzantine: int, *, seed: int) -> Tensor:
        """Coefficients `[M, T]` of the points in each combination, float64; what a row lacks to 1 is the origin's.

        Args:
            points: T points and the origin.
            num_byzantine: f.
            seed: Of this round, for a stage that draws.
        """


RULES: Registry[type[Rule]] = Registry(
    "aggregator.name",
    {
        "bulyan": "strategies.rules.bulyan:Bulyan",
        "caf": "strategies.rules.caf:Caf",
        "centered_clipping": "strategies.rules.centered_clipping:CenteredClipping",
        "geometric_median": "strategies.rules.geometric_median:GeometricMedian",
        "krum": "strategies.rules.krum:Krum",
        "mda": "strategies.rules.mda:Mda",
        "mean": "strategies.rules.mean:Mean",
        "median": "strategies.rules.median:Median",
        "multi_krum": "strategies.rules.multi_krum:MultiKrum",
        "smea": "strategies.rules.smea:Smea",
        "trimmed_mean": "strategies.rules.trimmed_mean:TrimmedMean",
    },
)
"""The last name of a composition."""

STAGES: Registry[type[Stage]] = Registry(
    "aggregator.name",
    {
        "arc": "strategies.stages.arc:Arc",
        "bucketing": "strategies.stages.bucketing:Bucketing",
        "clipping": "strategies.stages.clipping:Clipping",
        "nnm": "strategies.stages.nnm:Nnm",
    },
)
"""The names before it."""
