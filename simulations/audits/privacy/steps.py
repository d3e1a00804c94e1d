"""A step of production with its noise taken away, and the noise of a step with its sum taken away.

What an audit measures is what a step gives for the rest of the run, whatever lies within: the sum times the public
normaliser that the site's plan states. A step that divides by anything else shows it here.

Shapes: P trained parameters in one vector.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from client.dp.paths.interface import PATHS, Differentiation
from client.dp.records import Gradients, Records, chunks_of_patients
from client.dp.round_noise import RoundNoise
from client.dp.step import GradientSource, num_trained
from client.site import Site
from common.canonical import digest
from common.encoders.dual import DualEncoder
from common.errors import ConfigError
from common.losses.objective import Objective
from common.losses.public import Public
from common.privacy.events import SampledGaussian
from common.privacy.plan import PrivacyPlan
from simulations.audits.privacy.interface import Measured
from simulations.audits.privacy.pipeline import Pipeline
from simulations.audits.privacy.subject import Subject

FIRST_ROUND = 1

BY_PAIRS = Measured(
    holds=None,
    sentence="The run's loss is clipped pair by pair; this check knows losses that are clipped patient by patient.",
    power="Nothing was looked at. The check pair-clip looks at such a loss.",
)
"""What a check says of a run that it does not know."""


class NoNoise:
    """Noise that adds nothing, and rounds nothing."""

    def added_to(self, total: Tensor) -> Tensor:
        """See `Noise`."""
        return total.detach().double()


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One site of a subject, to take steps with.

    Attributes:
        pipeline: What makes the steps.
        sites: All of the run, which may share noise.
        site: The first of them.
        plan: What it spends.
        objective: What is minimised.
        public: What a study is compared with.
    """

    pipeline: Pipeline
    sites: tuple[Site, ...]
    site: Site
    plan: PrivacyPlan
    objective: Objective
    public: Public

    @property
    def by_pairs(self) -> bool:
        """Whether the loss is clipped pair by pair, in a sample that is cut at a size."""
        return not isinstance(self.plan.event, SampledGaussian)

    @property
    def model(self) -> DualEncoder:
        """The site's."""
        return self.site.model

    def source(self, *, objective: Objective | None = None, round_number: int = FIRST_ROUND) -> GradientSource:
        """What makes the steps of a round."""
        return self.pipeline.gradient_source(
            self.site,
            objective or self.objective,
            round_number=round_number,
            round_noise=self.round_noise(round_number),
        )

    def round_noise(self, round_number: int) -> RoundNoise | None:
        """What the site shares of a round's noise with all others; None where it is its own."""
        if self.site.pairing is None:
            return None
        statements = [site.pairing.key.statement for site in self.sites if site.pairing is not None]
        return self.pipeline.open_round(self.site.pairing, statements, context=digest(["audit", round_number]))

    def with_training(self, **settings: Any) -> Bench:  # noqa: ANN401 - of a config
        """The same with other keys of `training`."""
        config = self.site.config
        return self._with(replace(config, training=replace(config.training, **settings)))

    def with_privacy(self, **settings: Any) -> Bench:  # noqa: ANN401 - of a config
        """The same with other keys of `privacy`, the clip norm of the plan among them."""
        config = self.site.config
        plan = replace(self.plan, clip_norm=settings.get("clip_norm", self.plan.clip_norm))
        changed = self._with(replace(config, privacy=replace(config.privacy, **settings)))
        return replace(changed, plan=plan, site=replace(changed.site, privacy=plan))

    def _with(self, config: Any) -> Bench:  # noqa: ANN401 - of a run
        return replace(self, site=replace(self.site, config=config))

    def exact_sum(self, source: GradientSource, sample: Sequence[Records]) -> Tensor:
        """What a step gives without noise, times the public normaliser, float64 `[P]`."""
        given = source.gradient_of(self.model, self._in_chunks(sample), self.public, NoNoise)
        return flat(given) * self.plan.expected_patients

    def noised_sum(self, source: GradientSource, sample: Sequence[Records]) -> Tensor:
        """What a step gives with its noise, times the public normaliser, float64 `[P]`."""
        size = num_trained(self.model)
        given = source.gradient_of(self.model, self._in_chunks(sample), self.public, lambda: source.noise(size))
        return flat(given) * self.plan.expected_patients

    def _in_chunks(self, sample: Sequence[Records]) -> Iterable[Records]:
        """A sample as the step's own sampler would hand it over: a loss that is clipped pair by pair sees it whole."""
        if self.by_pairs:
            return list(sample)
        size = self.site.config.training.chunk_size
        return [chunk for records in sample for chunk in chunks_of_patients(records, size)]

    def paths(self) -> list[str]:
        """The ways to a patient's gradient that take the site's model."""
        differentiation = Differentiation(objective=self.objective, precision="float32")
        found = []
        for name in PATHS.names:
            try:
                PATHS.load(name)(differentiation).refuse(self.model)
            except ConfigError:
                continue
            found.append(name)
        return found

    @property
    def noise_deviation(self) -> float:
        """What the plan states of the noise on one value of a sum, what is shared included."""
        law = self.plan.pair_law
        own = self.plan.own_multiplier * self.plan.clip_norm
        return own if law is None else own * (1 + law.factor**2 * law.peers) ** 0.5


@contextmanager
def bench(pipeline: Pipeline, subject: Subject) -> Iterator[Bench]:
    """The subject's first site, to take steps with.

    Raises:
        ConfigError: The config trains without privacy.
    """
    with subject.sites(pipeline) as sites:
        first = sites[0]
        if first.privacy is None:
            raise ConfigError("privacy.epsilon: null promises nothing that could be attacked; set privacy.epsilon=8")
        yield Bench(
            pipeline=pipeline,
            sites=tuple(sites),
            site=first,
            plan=first.privacy,
            objective=subject.objective,
            public=subject.public(),
        )


def flat(gradients: Gradients) -> Tensor:
    """All values in one vector, float64 `[P]`."""
    return torch.cat([value.detach().flatten().double() for value in gradients.values()])
