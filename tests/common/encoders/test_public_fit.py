"""The first model: it learns from the public pairs, repeats for one seed, and splits without a change."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from common.config.load import load_config
from common.config.schema import RunConfig
from common.encoders.dual import DualEncoder, embed_in_batches
from common.encoders.public_fit import AnchorFeatures, fit_to_public, fresh_model, split_frozen
from common.encoders.scratch import build

TOPICS = 24
CONFIG = load_config(
    [
        *(f"encoder.{name}=16" for name in ("embedding_dim", "image_size", "width")),
        *(f"encoder.{name}=1" for name in ("image_depth", "report_depth")),
        *("encoder.patch_size=8", "encoder.num_heads=2", "encoder.max_tokens=8", "encoder.vocabulary=64"),
        *("code.bit_width=64", "code.num_centres=8"),
        *("public_fit.steps=60", "public_fit.batch_size=24", "public_fit.learning_rate=0.01"),
    ]
)


def topic_pairs(seed: int) -> AnchorFeatures:
    """Three studies of each topic: a noisy picture of it, and its words in any order. A patient has one topic."""
    fixed = torch.Generator().manual_seed(0)
    pictures = torch.rand(TOPICS, 16, 16, generator=fixed) * 200
    words = torch.stack([torch.randperm(63, generator=fixed)[:4] + 1 for _ in range(TOPICS)])
    generator = torch.Generator().manual_seed(seed)
    patients = torch.arange(TOPICS).repeat_interleave(3)
    noise = torch.randn(len(patients), 16, 16, generator=generator) * 15
    images = (pictures[patients] + noise).clamp(0, 255).to(torch.uint8)
    order = torch.stack([torch.randperm(4, generator=generator) for _ in patients])
    reports = torch.zeros(len(patients), 8, dtype=torch.int64)
    reports[:, :4] = words[patients].gather(1, order)
    return AnchorFeatures(images, reports, patients)


def fitted(config: RunConfig = CONFIG) -> DualEncoder:
    model = fresh_model(build(config.encoder), config)
    fit_to_public(model, topic_pairs(1), config)
    return model


@pytest.fixture(scope="module")
def model() -> DualEncoder:
    return fitted()


def recall_at_1(first: Tensor, second: Tensor, topics: Tensor) -> float:
    """Share of queries whose best match is of their topic; chance is one in 24."""
    return float((topics[(first @ second.T).argmax(dim=1)] == topics).double().mean())


def test_fit_learns_pairs_it_has_not_seen(model: DualEncoder) -> None:
    fresh, unseen = fresh_model(build(CONFIG.encoder), CONFIG), topic_pairs(2)
    before = embed_in_batches(fresh, unseen.images, unseen.reports)
    image, report = embed_in_batches(model, unseen.images, unseen.reports)
    assert recall_at_1(before[0].embedding, before[1].embedding, unseen.patients) < 0.2
    assert recall_at_1(image.embedding, report.embedding, unseen.patients) > 0.7
    assert recall_at_1(report.embedding, image.embedding, unseen.patients) > 0.7


def test_fit_codes_retrieve_too(model: DualEncoder) -> None:
    unseen = topic_pairs(2)
    image, report = embed_in_batches(model, unseen.images, unseen.reports)
    assert recall_at_1(image.code.sign(), report.code.sign(), unseen.patients) > 0.6


def test_fit_sets_prototypes_of_unit_length(model: DualEncoder) -> None:
    torch.testing.assert_close(model.hash_head.prototypes.norm(dim=1), torch.ones(8))


def test_fit_repeats_for_one_seed_and_not_for_another(model: DualEncoder) -> None:
    torch.manual_seed(99)
    again, other = fitted(), fitted(replace(CONFIG, seed=1))
    first = model.state_dict()
    assert all(torch.equal(value, first[name]) for name, value in again.state_dict().items())
    assert not torch.equal(other.hash_head.weight, model.hash_head.weight)


def test_fit_leaves_no_gradient_behind(model: DualEncoder) -> None:
    assert all(value.grad is None for value in model.parameters())


def test_fit_of_no_steps_sets_only_the_prototypes() -> None:
    config = replace(CONFIG, public_fit=replace(CONFIG.public_fit, steps=0))
    found, fresh = fitted(config), fresh_model(build(CONFIG.encoder), CONFIG)
    changed = [name for name, value in fresh.state_dict().items() if not torch.equal(value, found.state_dict()[name])]
    assert changed == ["hash_head.prototypes"]


def test_frozen_part_gives_the_features_of_the_whole_model(model: DualEncoder) -> None:
    frozen, _ = split_frozen(model)
    assert frozen is not None
    pairs = topic_pairs(2)
    images, reports = frozen.features_of(pairs.images, pairs.reports, batch_size=7)
    torch.testing.assert_close(model.image_tower.head(images), model.image_tower(pairs.images), rtol=1e-4, atol=1e-5)
    whole = model.report_tower(pairs.reports)
    torch.testing.assert_close(model.report_tower.head(reports), whole, rtol=1e-4, atol=1e-5)
    assert not images.requires_grad


def test_fresh_heads_on_the_frozen_part_learn_the_pairs_again(model: DualEncoder) -> None:
    frozen, top = split_frozen(model)
    assert frozen is not None
    known, unseen = topic_pairs(1), topic_pairs(2)
    top = copy.deepcopy(top)  # the hash head is the fitted model's own
    fit_to_public(top, AnchorFeatures(*frozen.features_of(known.images, known.reports), known.patients), CONFIG)
    image, report = embed_in_batches(top, *frozen.features_of(unseen.images, unseen.reports))
    assert recall_at_1(image.embedding, report.embedding, unseen.patients) > 0.7
    assert sum(value.numel() for value in top.parameters()) < sum(value.numel() for value in model.parameters())


def test_split_of_a_model_that_trains_whole_is_the_model() -> None:
    config = replace(CONFIG, encoder=replace(CONFIG.encoder, trainable="all"))
    whole = fresh_model(build(config.encoder), config)
    assert split_frozen(whole) == (None, whole)


def test_draw_patients_takes_one_study_of_each() -> None:
    pairs = topic_pairs(1)
    numbered = AnchorFeatures(torch.arange(72), torch.arange(72), pairs.patients)
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(60):
        images, reports = numbered.draw_patients(10, generator)
        assert torch.equal(images, reports)
        assert len(set(pairs.patients[images].tolist())) == 10
        seen |= set(images.tolist())
    assert seen == set(range(72))
    assert len(numbered.draw_patients(1000, generator)[0]) == TOPICS


def test_draw_takes_each_pair_once() -> None:
    numbered = AnchorFeatures(torch.arange(72), torch.arange(72), torch.zeros(72, dtype=torch.int64))
    images, reports = numbered.draw(20, torch.Generator().manual_seed(0))
    assert torch.equal(images, reports)
    assert len(set(images.tolist())) == 20
    assert sorted(numbered.draw(1000, torch.Generator())[0].tolist()) == list(range(72))
