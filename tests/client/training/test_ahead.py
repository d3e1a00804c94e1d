"""Draws on a thread are those of a loop, in its order; what fails there fails the step, and no draw is used twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Tensor

from client.dp.grid_noise import GridNoise
from client.dp.pair_clip import PairClipDpSgd
from client.dp.randomness import KeystreamRandomness, Noise
from client.dp.records import Gradients, PrivateStudies, Records
from client.dp.step import GradientSource, Sampler
from client.site import Site
from client.training.ahead import drawn_ahead
from client.training.train import gradient_source
from common.encoders.dual import DualEncoder
from common.errors import DataError
from common.losses.objective import Objective, build_objective
from common.losses.public import Public, embed_public
from common.privacy.events import SampledGaussian
from common.privacy.plan import PrivacyPlan

NOBODY = Records(torch.zeros(0, 1), torch.zeros(0, 1), torch.zeros(0, dtype=torch.int64))
EVENT = SampledGaussian(noise_multiplier=2.0, sampling_probability=0.5, steps=4)
PLAN = PrivacyPlan(event=EVENT, delta=1e-3, clip_norm=0.5, expected_patients=6.5, learning_rate=0.1, public_weight=0.0)
NUM_STEPS = 4


@dataclass
class Watched(GradientSource):
    """Notes what is drawn, and on which thread; fails at a draw."""

    fails_at: str = ""
    drawn: list[str] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)

    def sampler(self, model: DualEncoder, records: PrivateStudies) -> Sampler:  # noqa: ARG002 - the protocol
        """See `GradientSource`."""

        def sample(reader: Executor) -> Iterable[Records]:  # noqa: ARG001 - the protocol
            self._draw("sample")
            return [NOBODY]

        return sample

    def noise(self, num_values: int) -> Noise:  # noqa: ARG002 - the protocol
        """See `GradientSource`."""
        self._draw("noise")
        return GridNoise(None, 0.0)

    def gradient_of(
        self, model: DualEncoder, sample: Iterable[Records], public: Public, noise: Callable[[], Noise]
    ) -> Gradients:
        """See `GradientSource`."""
        raise NotImplementedError

    def _draw(self, what: str) -> None:
        self.threads.add(threading.get_ident())
        name = f"{what} {sum(one.startswith(what) for one in self.drawn)}"
        self.drawn.append(name)
        if name == self.fails_at:
            raise DataError(name)


def test_draws_come_in_the_order_of_a_loop_on_one_thread(linear_model: DualEncoder) -> None:
    source = Watched()
    with drawn_ahead(source, linear_model, NOBODY, num_steps=3) as steps:
        assert not source.drawn, "nothing is drawn before the first step is asked for"
        for drawn in steps:
            drawn.noise()
    assert source.drawn == ["sample 0", "noise 0", "sample 1", "noise 1", "sample 2", "noise 2"]
    assert source.threads != {threading.get_ident()}
    assert len(source.threads) == 1


@pytest.mark.parametrize(("fails_at", "num_done"), [("sample 0", 0), ("noise 1", 1), ("sample 2", 2)])
def test_failure_of_a_draw_is_raised_in_its_step(linear_model: DualEncoder, fails_at: str, num_done: int) -> None:
    source, done = Watched(fails_at), []
    with pytest.raises(DataError, match=fails_at), drawn_ahead(source, linear_model, NOBODY, num_steps=3) as steps:
        for drawn in steps:
            drawn.noise()
            done.append(drawn)
    assert len(done) == num_done


def test_refused_step_ends_the_thread_and_its_draws(linear_model: DualEncoder) -> None:
    source, before = Watched(), threading.active_count()
    with pytest.raises(RuntimeError), drawn_ahead(source, linear_model, NOBODY, num_steps=3) as steps:
        next(steps)
        raise RuntimeError
    assert threading.active_count() == before
    assert set(source.drawn) <= {"sample 0", "noise 0", "sample 1"}


@pytest.mark.parametrize("kind", ["patients", "pairs"])
def test_gradients_of_draws_ahead_are_those_of_a_loop(tiny_site: Site, kind: str) -> None:
    """Sample, truncation, choice of a study and noise, from one stream: one draw out of order would move all others."""
    site = replace(tiny_site, privacy=PLAN, randomness=lambda _: KeystreamRandomness(bytes(32)))
    objective = build_objective(site.config.loss, site.config.code)
    public = embed_public(site.model, site.anchors.images, site.anchors.reports)
    looped, ahead = (source_of(kind, site, objective) for _ in range(2))
    expected = [flat(looped.gradient(site.model, site.private, public)) for _ in range(NUM_STEPS)]
    with drawn_ahead(ahead, site.model, site.private, num_steps=NUM_STEPS) as steps:
        found = [flat(ahead.gradient_of(site.model, drawn.sample, public, drawn.noise)) for drawn in steps]
    assert [one.tobytes() for one in map(Tensor.numpy, found)] == [one.tobytes() for one in map(Tensor.numpy, expected)]
    assert not torch.equal(expected[0], expected[1])


def source_of(kind: str, site: Site, objective: Objective) -> GradientSource:
    if kind == "patients":
        return gradient_source(site, objective, round_number=1)
    loss = replace(site.config.loss, name="pair_clip")
    return PairClipDpSgd(
        objective=build_objective(loss, site.config.code),
        sampling_probability=0.8,
        clip_norm=0.5,
        negative_clip=0.5,
        noise_multiplier=1.0,
        expected_patients=6.5,
        most_sampled=8,
        most_patients=64,
        chunk_size=4,
        randomness=KeystreamRandomness(bytes(32)),
    )


def flat(gradients: Gradients) -> Tensor:
    return torch.cat([value.flatten() for value in gradients.values()])
