"""FedProx's term: it is the gradient of the proximal objective, and post-processing of what privacy gave."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

import client.training.train as module
from client.dp.randomness import SeededRandomness
from client.site import Site
from client.training.train import gradient_source, train
from common.encoders.dual import trainable_names
from common.losses.objective import build_objective
from common.losses.public import embed_public
from common.privacy.bands import middle_of
from common.privacy.events import SampledGaussian
from common.privacy.plan import PrivacyPlan
from common.seeds import torch_generator
from common.wire.update import NamedArrays, model_arrays

RATE = 0.3
EVENT = SampledGaussian(noise_multiplier=2.0, sampling_probability=0.5, steps=2)
PLAN = PrivacyPlan(event=EVENT, delta=1e-3, clip_norm=0.5, expected_patients=6.5, learning_rate=RATE, public_weight=0.0)


def with_weight(site: Site, weight: float, *, steps: int = 4, sampling_probability: float = 1.0) -> Site:
    training = replace(
        site.config.training,
        proximal_weight=weight,
        steps_per_round=steps,
        sampling_probability=sampling_probability,
        learning_rate=RATE,
    )
    return replace(site, config=replace(site.config, training=training))


def update_of(site: Site) -> NamedArrays:
    """The update of a copy of the model: training leaves its own changed."""
    copied = replace(site, model=copy.deepcopy(site.model))
    return train(copied, model_arrays(copied.model), round_number=1)


def norm(update: NamedArrays) -> float:
    return float(np.sqrt(sum(np.square(array.astype(float)).sum() for array in update.values())))


def test_proximal_training_is_descent_on_the_proximal_objective(tiny_site: Site) -> None:
    """A loop of its own: the mean of each patient's studies, summed, plus the squared distance, through autograd."""
    weight, site = 0.7, with_weight(tiny_site, 0.7)
    model = copy.deepcopy(site.model)
    start = {name: model.get_parameter(name).detach().clone() for name in trainable_names(model)}
    objective = build_objective(site.config.loss, site.config.code)
    draws = torch_generator(site.config.seed, "anchors", site.name, 1)
    patients = site.private.patients
    share = 1 / torch.bincount(patients)[patients] / middle_of("11-15")
    for _ in range(4):
        public = embed_public(model, *site.anchors.draw(site.config.loss.num_anchors, draws))
        model.zero_grad()
        values = objective(*model(site.private.images, site.private.reports), public)
        distance = sum(((model.get_parameter(name) - value) ** 2).sum() for name, value in start.items())
        ((values * share).sum() + weight / 2 * distance).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for name in start:
                parameter = model.get_parameter(name)
                assert parameter.grad is not None
                parameter -= RATE * parameter.grad
    found = update_of(site)
    for name, value in start.items():
        expected = (model.get_parameter(name).detach() - value).numpy()
        np.testing.assert_allclose(found[name], expected, rtol=1e-3, atol=1e-5)
    without = update_of(with_weight(tiny_site, 0.0))
    assert norm({name: found[name] - without[name] for name in found}) > 0.05 * norm(found)


def test_weight_zero_is_training_without_the_term_bit_by_bit(tiny_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain SGD on the source's gradients; and the term is not even computed."""
    site = with_weight(tiny_site, 0.0, sampling_probability=0.5)
    model = copy.deepcopy(site.model)
    start, names = model_arrays(model), trainable_names(model)
    objective = build_objective(site.config.loss, site.config.code)
    source = gradient_source(site, objective, round_number=1)
    draws = torch_generator(site.config.seed, "anchors", site.name, 1)
    descent = torch.optim.SGD([model.get_parameter(name) for name in names], lr=RATE)
    for _ in range(4):
        public = embed_public(model, *site.anchors.draw(site.config.loss.num_anchors, draws))
        gradients = source.gradient(model, site.private, public)
        for name in names:
            model.get_parameter(name).grad = gradients[name]
        descent.step()
    monkeypatch.delattr(module, "_drift")
    found = update_of(site)
    for name in names:
        assert found[name].tobytes() == (model.get_parameter(name).detach().numpy() - start[name]).tobytes()


def test_larger_weight_keeps_the_update_shorter(tiny_site: Site) -> None:
    lengths = [norm(update_of(with_weight(tiny_site, weight, steps=10))) for weight in (0.0, 0.1, 1.0, 3.0)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[-1] < 0.5 * lengths[0]


def test_proximal_term_is_post_processing_of_the_private_steps(tiny_site: Site) -> None:
    """With two steps and the same noise: both see the same model, so the pull is of the first noised step alone.

    A term that went into the clip, or met other noise, would differ by more than rounding.
    """

    def private(weight: float, steps: int) -> NamedArrays:
        def randomness(round_number: int) -> SeededRandomness:
            return SeededRandomness(torch.Generator().manual_seed(round_number))

        site = with_weight(tiny_site, weight, steps=steps, sampling_probability=0.5)
        return update_of(replace(site, privacy=PLAN, randomness=randomness))

    weight = 1.5
    first, free, pulled = private(0.0, 1), private(0.0, 2), private(weight, 2)
    assert all(first[name].tobytes() == private(weight, 1)[name].tobytes() for name in first)
    for name, step in first.items():
        np.testing.assert_allclose(pulled[name], free[name] - RATE * weight * step, rtol=1e-4, atol=1e-5)
        assert np.abs(step).max() > 1e-3


def test_weight_changes_nothing_of_what_privacy_is_told(tiny_site: Site) -> None:
    objective = build_objective(tiny_site.config.loss, tiny_site.config.code)
    sources = [
        gradient_source(replace(with_weight(tiny_site, weight), privacy=PLAN), objective, round_number=1)
        for weight in (0.0, 5.0)
    ]
    told = [{name: value for name, value in vars(source).items() if name != "randomness"} for source in sources]
    assert told[0] == told[1]
