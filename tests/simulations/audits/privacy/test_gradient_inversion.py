"""Without privacy an update shows the study; with it, it does not; and where noise is left out, the check says so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from common.encoders.scratch import standardised
from simulations.audits.privacy.gradient_inversion import CHECK, inverted, pictures_subject, without_privacy
from simulations.audits.privacy.gradient_inversion_features import read_direction
from simulations.audits.privacy.gradient_inversion_patches import (
    PATCHES,
    POSITIONS,
    Prior,
    patches_of,
    rebuilt_patches,
)
from simulations.audits.privacy.gradient_inversion_updates import ROUND, STEP, seen_of_patients
from simulations.audits.privacy.pipeline import PRODUCTION
from simulations.audits.privacy.subject import Subject
from tests.simulations.audits.privacy.broken import ScaledNoise

NOISE_OFF = replace(PRODUCTION, randomness=lambda _site, _round: ScaledNoise(0.0))


@pytest.fixture(scope="module")
def pictures(subject: Subject) -> Subject:
    """The same hospitals under an encoder that trains as a whole."""
    return pictures_subject(subject)


def some_pictures(number: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(3).integers(0, 256, (number, 32, 32), dtype=np.uint8))


def test_patches_are_what_the_transformer_reads(pictures: Subject) -> None:
    seen = []
    trunk = pictures.model.image_tower.get_submodule("trunk")
    hook = trunk.get_submodule("patches").register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    batch = some_pictures(2)
    trunk(batch)
    hook.remove()
    torch.testing.assert_close(patches_of(standardised(batch.float()), 8), seen[0])


def test_closed_form_finds_patches_exactly_and_the_prior_where_noise_drowns_them() -> None:
    generator = torch.Generator().manual_seed(0)
    patches = torch.randn(16, 64, generator=generator, dtype=torch.float64)
    moved = torch.randn(16, 32, generator=generator, dtype=torch.float64)
    prior = Prior.of(some_pictures(30), patch_size=8)
    update = {POSITIONS: moved.numpy(), PATCHES: (moved.T @ patches).numpy()}
    found = rebuilt_patches(update, prior, deviation=1e-9)
    torch.testing.assert_close(found, patches, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(rebuilt_patches(update, prior, deviation=1e6), prior.mean_NP, rtol=0, atol=1e-6)


def test_picture_of_its_own_patches_is_the_picture_as_seen() -> None:
    batch = some_pictures(1)
    prior = Prior.of(some_pictures(30), patch_size=8)
    back = prior.picture(patches_of(standardised(batch.double()), 8)[0])
    torch.testing.assert_close(back, prior.as_seen(batch)[0])


def test_direction_is_that_of_the_features_of_an_outer_product() -> None:
    generator = torch.Generator().manual_seed(1)
    asked, features = (torch.randn(12, generator=generator) for _ in range(2))
    update = {"image_tower.linear.weight": torch.outer(asked, features).numpy()}
    unit = (features / features.norm()).double()
    assert float((read_direction(update) @ unit).abs()) == pytest.approx(1, abs=1e-6)


def test_update_of_one_patient_shows_the_picture_without_privacy_and_not_with(pictures: Subject) -> None:
    """Eight patients with one study each: the least area that counts as recognised, 0.75, is one in 300 by chance."""
    open_, shown = inverted(PRODUCTION, without_privacy(pictures), num_patients=8)
    by_update = {one.update: one for one in open_}
    assert by_update[STEP].is_recognised
    assert by_update[STEP].truth > by_update[STEP].unrelated + 0.2
    assert len(shown) == 6
    private, _ = inverted(PRODUCTION, pictures, num_patients=8)
    assert not any(one.is_recognised for one in private)
    assert all(abs(one.truth - one.unrelated) < 0.1 for one in private)


def test_picture_is_recognised_where_the_noise_is_left_out(pictures: Subject) -> None:
    found, _ = inverted(NOISE_OFF, pictures, num_patients=4)
    assert next(one for one in found if one.update == STEP).is_recognised


def test_features_are_read_without_privacy_and_not_with(subject: Subject) -> None:
    open_, shown = inverted(PRODUCTION, without_privacy(subject), num_patients=8)
    assert next(one for one in open_ if one.update == STEP).is_recognised
    assert shown == []
    private, _ = inverted(PRODUCTION, subject, num_patients=8)
    assert not any(one.is_recognised for one in private)


def test_patients_with_the_fewest_studies_are_attacked_first_at_every_hospital(subject: Subject) -> None:
    seen = list(seen_of_patients(PRODUCTION, without_privacy(subject), num_patients=5, num_others=3))
    assert [one.site for one in seen] == ["northgate", "riverside", "northgate", "riverside", "northgate"]
    assert {len(one.records.patients) for one in seen} == {1}
    assert all(set(one.updates) == {STEP, ROUND} and len(one.others.patients) == 3 for one in seen)
    assert all(one.patient not in one.others.patients for one in seen)


@pytest.mark.slow
def test_check_holds_for_production_and_fails_where_noise_is_left_out(subject: Subject) -> None:
    assert CHECK.outcome(PRODUCTION, subject).holds is True
    assert CHECK.outcome(NOISE_OFF, subject).holds is False
