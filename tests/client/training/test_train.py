"""Local training: the update is new minus old, and without privacy nothing is clipped or noised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from client.dp.engine import PatientDpSgd
from client.dp.randomness import Randomness, SeededRandomness, SystemRandomness
from client.dp.records import sample_patients
from client.dp.views import NO_VIEWS, Views
from client.site import Site
from client.training.train import PlainGradient, gradient_source, train
from common.encoders.dual import trainable_names
from common.errors import AdmissionError, ConfigError
from common.losses.objective import Objective, build_objective
from common.losses.public import embed_public
from common.privacy.events import SampledGaussian
from common.privacy.plan import PrivacyPlan
from common.wire.update import model_arrays

EVENT = SampledGaussian(noise_multiplier=2.0, sampling_probability=0.5, steps=3)
PLAN = PrivacyPlan(event=EVENT, delta=1e-3, clip_norm=0.5, expected_patients=6.5, learning_rate=0.1, public_weight=0.0)


def seeded(round_number: int = 1) -> Randomness:
    return SeededRandomness(torch.Generator().manual_seed(round_number))


def always(source: Callable[[], Randomness]) -> Callable[[int], Randomness]:
    return lambda round_number: source()  # noqa: ARG005 - the site's signature


def plain(objective: Objective, *, sampling_probability: float) -> PlainGradient:
    return PlainGradient(
        objective=objective,
        sampling_probability=sampling_probability,
        expected_patients=6.5,
        randomness=seeded(),
        precision="float32",
        views=NO_VIEWS,
        view_generator=np.random.default_rng(0),
    )


def test_plain_gradient_equals_loop(tiny_site: Site) -> None:
    """The mean over studies of each sampled patient, summed, over the public number of expected patients."""
    model, config = tiny_site.model, tiny_site.config
    objective = build_objective(config.loss, config.code)
    public = embed_public(model, tiny_site.anchors.images, tiny_site.anchors.reports)
    sample = sample_patients(tiny_site.private, 0.5, seeded())
    expected = {name: torch.zeros_like(model.get_parameter(name)) for name in trainable_names(model)}
    for patient in range(sample.num_patients):
        rows = (sample.patients == patient).nonzero().flatten().tolist()
        for row in rows:
            model.zero_grad()
            image, report = model(sample.images[row : row + 1], sample.reports[row : row + 1])
            objective(image, report, public).sum().backward()
            for name, total in expected.items():
                gradient = model.get_parameter(name).grad
                assert gradient is not None
                total += gradient / len(rows) / 6.5
    found = plain(objective, sampling_probability=0.5).gradient(model, tiny_site.private, public)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)


def test_plain_gradient_of_empty_sample_is_zero(tiny_site: Site) -> None:
    objective = build_objective(tiny_site.config.loss, tiny_site.config.code)
    public = embed_public(tiny_site.model, tiny_site.anchors.images, tiny_site.anchors.reports)
    found = plain(objective, sampling_probability=0.0).gradient(tiny_site.model, tiny_site.private, public)
    assert not any(value.any() for value in found.values())


def test_gradient_source_follows_the_privacy_of_the_run(tiny_site: Site) -> None:
    objective = build_objective(tiny_site.config.loss, tiny_site.config.code)
    private = gradient_source(replace(tiny_site, privacy=PLAN), objective, round_number=1)
    assert isinstance(gradient_source(tiny_site, objective, round_number=1), PlainGradient)
    assert isinstance(private, PatientDpSgd)
    assert private.event(EVENT.steps) == EVENT
    assert private.clip_norm == PLAN.clip_norm
    assert private.expected_patients == PLAN.expected_patients


def test_gradient_source_follows_the_training_config(tiny_site: Site) -> None:
    training = replace(tiny_site.config.training, gradients="vmap", precision="bfloat16", augmentations=3, chunk_size=7)
    privacy = replace(tiny_site.config.privacy, clipping="per_layer")
    config = replace(tiny_site.config, training=training, privacy=privacy)
    objective = build_objective(config.loss, config.code)
    private = gradient_source(replace(tiny_site, config=config, privacy=PLAN), objective, round_number=1)
    assert isinstance(private, PatientDpSgd)
    assert (private.gradients, private.precision, private.clipping) == ("vmap", "bfloat16", "per_layer")
    assert (private.views.number, private.chunk_size) == (3, 7)
    open_source = gradient_source(replace(tiny_site, config=config), objective, round_number=1)
    assert isinstance(open_source, PlainGradient)
    assert (open_source.precision, open_source.views.number) == ("bfloat16", 3)


def test_plain_gradient_refuses_views_of_features(tiny_site: Site) -> None:
    """Views need pixels, with and without privacy."""
    objective = build_objective(tiny_site.config.loss, tiny_site.config.code)
    public = embed_public(tiny_site.model, tiny_site.anchors.images, tiny_site.anchors.reports)
    source = replace(plain(objective, sampling_probability=1.0), views=Views(2))
    with pytest.raises(ConfigError, match=r"training\.augmentations=2"):
        source.gradient(tiny_site.model, tiny_site.private, public)


def test_gradient_source_normaliser_is_the_bands_not_the_number(tiny_site: Site) -> None:
    """Eleven patients and fifteen share a band, and so their normaliser."""
    objective = build_objective(tiny_site.config.loss, tiny_site.config.code)
    whole = replace(tiny_site, privacy=PLAN)
    kept = (tiny_site.private.patients < 11).nonzero().flatten()
    fewer = replace(whole, private=whole.private.among(kept, whole.private.patients[kept]))
    assert fewer.private.num_patients != whole.private.num_patients
    sources = [gradient_source(site, objective, round_number=1) for site in (whole, fewer)]
    assert sources[0].expected_patients == sources[1].expected_patients


def test_update_is_new_minus_old(tiny_site: Site) -> None:
    before = model_arrays(tiny_site.model)
    update = train(tiny_site, before, round_number=1)
    after = model_arrays(tiny_site.model)
    assert set(update) == set(trainable_names(tiny_site.model))
    for name, moved in update.items():
        np.testing.assert_array_equal(moved, after[name] - before[name])
        assert moved.any()


def test_train_moves_nothing_but_trained_parameters(tiny_site: Site) -> None:
    before = model_arrays(tiny_site.model)
    update = train(tiny_site, before, round_number=1)
    after = model_arrays(tiny_site.model)
    assert all(np.array_equal(after[name], before[name]) for name in set(before) - set(update))


def test_train_starts_from_the_arrays_not_from_the_last_round(tiny_site: Site) -> None:
    start = model_arrays(tiny_site.model)
    first = train(tiny_site, start, round_number=1)
    again = train(tiny_site, start, round_number=1)
    other = train(tiny_site, start, round_number=2)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert any(not np.array_equal(first[name], other[name]) for name in first)


def test_train_reads_only_and_keeps_the_received_arrays(tiny_site: Site) -> None:
    start = model_arrays(tiny_site.model)
    for array in start.values():
        array.setflags(write=False)
    train(tiny_site, start, round_number=1)


def test_train_lowers_the_objective_without_privacy(tiny_site: Site) -> None:
    config = replace(tiny_site.config, training=replace(tiny_site.config.training, steps_per_round=40))
    site = replace(tiny_site, config=config)
    model, objective = site.model, build_objective(config.loss, config.code)

    def value() -> Tensor:
        public = embed_public(model, site.anchors.images, site.anchors.reports)
        with torch.no_grad():
            image, report = model(site.private.images, site.private.reports)
            return objective(image, report, public).mean()

    before = value()
    train(site, model_arrays(model), round_number=1)
    assert value() < before


def test_private_training_never_repeats_its_noise(tiny_site: Site) -> None:
    site = replace(tiny_site, privacy=PLAN, randomness=always(SystemRandomness))
    start = model_arrays(site.model)
    first, second = (train(site, start, round_number=1) for _ in range(2))
    assert all(not np.array_equal(first[name], second[name]) for name in first)


def test_private_training_with_a_coupling_loss_is_refused(tiny_site: Site) -> None:
    config = replace(tiny_site.config, loss=replace(tiny_site.config.loss, name="in_batch"))
    site = replace(tiny_site, config=config, privacy=PLAN)
    with pytest.raises(ConfigError, match=r"loss\.name"):
        train(site, model_arrays(site.model), round_number=1)


def test_train_arrays_of_another_model_are_refused(tiny_site: Site) -> None:
    arrays = model_arrays(tiny_site.model)
    arrays["hash_head.weight"] = arrays["hash_head.weight"][:, :-1]
    with pytest.raises(AdmissionError, match="shape"):
        train(tiny_site, arrays, round_number=1)
