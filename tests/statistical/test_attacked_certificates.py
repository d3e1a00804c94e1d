"""Certificates of an image tower under attack: 10,000 changed images, no smoothed code of which breaks one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from common.config.load import load_config
from common.encoders.dual import DualEncoder
from common.hashing.certificate import certify, certify_bits, tolerance_of
from common.hashing.head import head_outputs
from common.hashing.sensitivity import attacked
from common.hashing.smoothing import Smoothing, cast_ballot, votes
from simulations.scenarios.simulate import Clock, prepare

ALPHA = 0.001
"""Of a certificate; of the 40 one fails with probability 0.04 at most."""
VOTES_OF_A_CHANGE = 256
NOISE_OF_AN_ATTACK = 8


@pytest.fixture(scope="module")
def tower(tiny_overrides: list[str], quiet_watcher: Any) -> tuple[DualEncoder, Tensor]:
    """A model that sees pixels, and held-out images."""
    config = load_config([*tiny_overrides, "encoder.trainable=all"])
    consortium, model = prepare(config, Clock(quiet_watcher))
    return model.eval().requires_grad_(requires_grad=False), consortium.held_out(consortium.sites).images[:].float()


def check(tower: tuple[DualEncoder, Tensor], *, num_images: int, num_changes: int) -> int:
    """Certify each image and attack it; the number of changes that were tried."""
    model, images = tower
    smoothing = Smoothing(deviation=0.3 * float(images.std()), num_votes=4000)
    radius = 0.5 * smoothing.deviation
    generator = torch.Generator().manual_seed(0)

    def outputs(rows: Tensor) -> Tensor:
        return head_outputs(model.hash_head, model.embed_images(rows).embedding)

    tried = 0
    for one in images[:num_images]:
        ballot = cast_ballot(outputs, one, smoothing, generator=generator)
        tolerance = tolerance_of(VOTES_OF_A_CHANGE, ballot.against.shape[1], alpha=1e-6)
        certificates = [by(ballot, radius=radius, alpha=ALPHA, tolerance=tolerance) for by in (certify_bits, certify)]
        of_a_change = Smoothing(deviation=smoothing.deviation, num_votes=VOTES_OF_A_CHANGE)
        for changed in changes(outputs, one, smoothing.deviation, radius, num_changes, generator):
            code = votes(outputs, changed, of_a_change, generator=generator).double().mean(dim=0).numpy() >= 0.5
            flipped = code != ballot.code
            for certificate in certificates:
                assert flipped.sum() <= certificate.most_flips
                assert not (flipped & ~certificate.loose).any()
            tried += 1
    return tried


def changes(
    outputs: Any, one: Tensor, deviation: float, radius: float, number: int, generator: torch.Generator
) -> Iterator[Tensor]:
    """Attacks on the smoothed code, one in twenty from a start of its own, and mixtures of their directions."""
    num_attacks = max(1, number // 20)
    noise = deviation * torch.randn(NOISE_OF_AN_ATTACK, *one.shape, generator=generator)

    def smoothed(rows: Tensor) -> Tensor:
        noisy = (rows[:, None] + noise).flatten(0, 1)
        return torch.tanh(4 * outputs(noisy)).unflatten(0, (len(rows), -1)).mean(dim=1)

    starts = one.expand(num_attacks, *one.shape).clone()
    directions = attacked(smoothed, starts, radius=radius, steps=15, generator=generator) - one
    yield from one + directions
    for _ in range(number - num_attacks):
        mixed = (torch.randn(num_attacks, 1, 1, generator=generator).exp() * directions).sum(dim=0)
        yield one + mixed * (radius / mixed.norm())


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_attack_of_ten_thousand_breaks_a_certificate(tower: tuple[DualEncoder, Tensor]) -> None:
    assert check(tower, num_images=20, num_changes=500) == 10_000
