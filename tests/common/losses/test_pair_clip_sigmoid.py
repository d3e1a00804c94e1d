"""The sigmoid loss of pairs against a loop of `math`, and which records a term reads."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from common.losses.anchor_contrast import AnchorContrast
from common.losses.interface import Coupling, PairLoss
from common.losses.pair_clip_sigmoid import PairClipSigmoid

TEMPERATURE = 0.2
LOSS = PairClipSigmoid(temperature=TEMPERATURE)
NO_ANCHORS = torch.zeros(0, 4, dtype=torch.float64)


def unit(number: int, seed: int) -> Tensor:
    return normalize(torch.randn(number, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)), dim=-1)


def term(similarity: float, *, together: bool, negatives: float) -> float:
    """Minus the log likelihood of a pair under odds of one to `negatives` at similarity 0."""
    odds = math.exp(similarity / TEMPERATURE) / negatives
    return -math.log(odds / (1 + odds) if together else 1 / (1 + odds))


def test_terms_equal_likelihood() -> None:
    for similarity in (-1.0, -0.2, 0.0, 0.7):
        at = torch.tensor(similarity, dtype=torch.float64)
        found = [float(way(at, expected_patients=9.5)) for way in (LOSS.positive, LOSS.negative)]
        expected = [term(similarity, together=together, negatives=8.5) for together in (True, False)]
        assert found == pytest.approx(expected, rel=1e-12)


def test_independent_pairs_are_served_by_similarity_zero() -> None:
    """Where images and reports are unrelated, of n pairs one belongs together, and no similarity but 0 does better."""
    similarity = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    value = LOSS.positive(similarity, expected_patients=12) + 11 * LOSS.negative(similarity, expected_patients=12)
    (slope,) = torch.autograd.grad(value, similarity)
    assert abs(float(slope)) < 1e-12


def test_values_share_every_pair_out_once() -> None:
    image, report = unit(5, 0), unit(5, 1)
    values = LOSS(image, report, NO_ANCHORS, NO_ANCHORS).tolist()
    similarity = [[float(u @ t) for t in report] for u in image]
    for row, value in enumerate(values):
        others = [n for n in range(5) if n != row]
        negatives = [term(similarity[row][n], together=False, negatives=4) for n in others]
        negatives += [term(similarity[n][row], together=False, negatives=4) for n in others]
        own = term(similarity[row][row], together=True, negatives=4)
        assert value == pytest.approx(own + math.fsum(negatives) / 2, rel=1e-12)


def test_record_alone_has_its_own_pair_only() -> None:
    image, report = unit(1, 0), unit(1, 1)
    found = float(LOSS(image, report, NO_ANCHORS, NO_ANCHORS))
    assert found == pytest.approx(term(float(image[0] @ report[0]), together=True, negatives=1), rel=1e-12)


def test_loss_says_that_it_couples_pairs() -> None:
    assert LOSS.coupling is Coupling.PAIRS
    assert isinstance(LOSS, PairLoss)
    assert not isinstance(AnchorContrast(temperature=TEMPERATURE, agreement_weight=0.5), PairLoss)


@pytest.mark.parametrize("temperature", [1e-3, 10.0])
def test_loss_stays_finite(temperature: float) -> None:
    image = unit(3, 0).float().requires_grad_()
    value = PairClipSigmoid(temperature=temperature)(image, -image, NO_ANCHORS, NO_ANCHORS).sum()
    (gradient,) = torch.autograd.grad(value, image)
    assert value.isfinite()
    assert gradient.isfinite().all()
