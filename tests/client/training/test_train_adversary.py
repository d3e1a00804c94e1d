"""Training with an adversary: its head is a part of the update, and what it forgets reads no patient."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

import client.training.train as module
from client.dp.randomness import SeededRandomness
from client.site import Site
from client.training.train import ADVERSARY, train
from common.encoders.adversary import Adversary
from common.privacy.events import SampledGaussian
from common.privacy.plan import PrivacyPlan
from common.wire.update import NamedArrays, model_arrays

EVENT = SampledGaussian(noise_multiplier=1.0, sampling_probability=0.5, steps=2)
PLAN = PrivacyPlan(event=EVENT, delta=1e-3, clip_norm=0.5, expected_patients=6.5, learning_rate=0.2, public_weight=0.3)


@pytest.fixture
def adversarial(tiny_site: Site) -> Site:
    model = copy.deepcopy(tiny_site.model)
    head = model.hash_head
    model.adversary = Adversary(embedding_dim=head.in_features, bit_width=head.out_features, num_groups=2, strength=1.0)
    private = tiny_site.private.by_group(groups=tiny_site.private.patients % 2)
    return replace(tiny_site, model=model, private=private)


def update_of(site: Site, *, steps: int) -> NamedArrays:
    training = replace(site.config.training, steps_per_round=steps)
    fresh = replace(
        site,
        model=copy.deepcopy(site.model),
        config=replace(site.config, training=training),
        randomness=lambda round_number: SeededRandomness(torch.Generator().manual_seed(round_number)),
    )
    return train(fresh, model_arrays(fresh.model), round_number=1)


@pytest.mark.parametrize("privacy", [None, PLAN])
def test_the_head_is_a_part_of_the_update(adversarial: Site, privacy: PrivacyPlan | None) -> None:
    site = replace(adversarial, privacy=privacy)
    update = update_of(site, steps=3)
    assert set(update) == {*update_of(replace(site, model=_without(site)), steps=1), ADVERSARY}
    assert update[ADVERSARY].any()


@pytest.mark.parametrize("privacy", [None, PLAN])
def test_forgetting_is_post_processing_of_the_steps_before(
    adversarial: Site, privacy: PrivacyPlan | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first step starts at zero and forgets nothing; the second forgets a part of the first one's released head."""
    site = replace(adversarial, privacy=privacy)
    rate = 0.2 if privacy else site.config.training.learning_rate
    forgetting = [update_of(site, steps=steps) for steps in (1, 2)]
    monkeypatch.setattr(module, "FORGETTING", 0.0)
    keeping = [update_of(site, steps=steps) for steps in (1, 2)]
    assert all(forgetting[0][name].tobytes() == keeping[0][name].tobytes() for name in keeping[0])
    expected = keeping[1][ADVERSARY] - rate * keeping[0][ADVERSARY]
    np.testing.assert_allclose(forgetting[1][ADVERSARY], expected, rtol=1e-4, atol=1e-6)


def _without(site: Site) -> torch.nn.Module:
    model = copy.deepcopy(site.model)
    model.adversary = None
    return model
