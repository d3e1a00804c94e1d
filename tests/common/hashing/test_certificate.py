"""Certificates hold against the truth of half-spaces, where every share is known; and wrong ones are caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from common.hashing.certificate import Ballot, Certificate, certify, certify_bits, tolerance_of
from common.hashing.smoothing import Smoothing, cast_ballot
from tests.common.hashing.half_spaces import HalfSpaces

Certify = Callable[..., Certificate]
BOTH = pytest.mark.parametrize("certify_by", [certify_bits, certify])
NUM_BALLOTS = 20
WRONG = 0.999
"""A confidence of a thousandth."""


def violations(spaces: HalfSpaces, certify_by: Certify, *, alpha: float, radius: float) -> int:
    """Ballots of `NUM_BALLOTS`, of 400 votes, whose certificate a change of one bit alone breaks."""
    changes = -(1 + 1e-9) * spaces.margins[:, None] * spaces.planes
    broken = 0
    for seed in range(NUM_BALLOTS):
        certificate = certify_by(spaces.ballot(400, seed=seed), radius=radius, alpha=alpha)
        broken += bool((spaces.flips(certificate.code, changes) & ~certificate.loose).any())
    return broken


@BOTH
@pytest.mark.parametrize("dimensions", [4, 24, 64])
def test_no_change_of_ten_thousand_breaks_a_certificate(certify_by: Certify, dimensions: int) -> None:
    """64 bits, 10,000 changes: random ones, combinations of the planes, the worst. Alone alpha = 0.001 may fail."""
    spaces = HalfSpaces.drawn(64, dimensions, seed=1)
    ballot = spaces.ballot(2000, seed=2)
    source = np.random.default_rng(3)
    towards = -(np.exp(-3 * spaces.margins) * source.random((5000, 64)) ** 3) @ spaces.planes
    changes = np.concatenate([towards, source.standard_normal((5000, dimensions))])
    changes /= np.linalg.norm(changes, axis=1, keepdims=True)
    for radius in (0.25, 0.7, 1.2):
        tried = np.concatenate([radius * changes, spaces.worst_changes(radius)])
        certificate = certify_by(ballot, radius=radius, alpha=0.001)
        flips = spaces.flips(certificate.code, tried)
        assert flips.sum(axis=1).max() <= certificate.most_flips
        assert not (flips & ~certificate.loose).any()


@BOTH
def test_the_confidence_is_kept_where_each_bit_flips_just_within_the_radius(certify_by: Certify) -> None:
    """The hardest case: every bit's share lies a hair above what the radius allows.

    Of 20 ballots at alpha = 0.01 more than three break with probability 5e-5; with the wrong confidence 8 on average.
    """
    spaces = replace(HalfSpaces.drawn(16, 16, seed=0), margins=np.full(16, 0.5))
    assert violations(spaces, certify_by, alpha=0.01, radius=0.502) <= 3
    assert violations(spaces, certify_by, alpha=WRONG, radius=0.502) >= 4


def test_votes_whose_joint_law_is_lost_give_a_certificate_that_breaks() -> None:
    """Broken variant: each bit's votes shuffled by themselves look independent, so few bits seem to flip together."""
    spaces = HalfSpaces.copies(64, margin=0.6)
    ballot = spaces.ballot(8000, seed=0)
    source = np.random.default_rng(1)
    alone = replace(ballot, against=source.permuted(ballot.against, axis=0))
    truth = spaces.flips(ballot.code, spaces.worst_changes(0.7)).sum(axis=1).max()
    assert truth == 64
    assert certify(ballot, radius=0.7, alpha=0.001).most_flips >= truth
    assert certify(alone, radius=0.7, alpha=0.001).most_flips < truth


@pytest.mark.parametrize("radius", [0.25, 0.5, 1.0])
def test_joint_certificate_counts_a_third_fewer_flips_of_independent_bits(radius: float) -> None:
    """Measured 1.8 times fewer at 128 bits and 10,000 votes, at equal confidence."""
    ballot = HalfSpaces.drawn(128, 128, seed=0).ballot(13_333, seed=0)
    alone = certify_bits(ballot, radius=radius, alpha=0.001).most_flips
    assert certify(ballot, radius=radius, alpha=0.001).most_flips <= alone / 1.5


def test_joint_certificate_needs_no_luck_of_its_optimiser(monkeypatch: pytest.MonkeyPatch) -> None:
    spaces = HalfSpaces.drawn(64, 64, seed=4)
    ballot = spaces.ballot(4000, seed=5)
    converged = certify(ballot, radius=0.8, alpha=0.001).most_flips
    monkeypatch.setattr("common.hashing.joint_certificate._STEPS", 1)
    hasty = certify(ballot, radius=0.8, alpha=0.001).most_flips
    assert spaces.flips(ballot.code, spaces.worst_changes(0.8)).sum(axis=1).max() <= converged <= hasty


@BOTH
def test_a_certificate_grows_with_radius_and_confidence(certify_by: Certify) -> None:
    ballot = HalfSpaces.drawn(64, 32, seed=6).ballot(2000, seed=7)
    by_radius = [certify_by(ballot, radius=r, alpha=0.01).most_flips for r in (0.0, 0.2, 0.5, 1.0, 3.0)]
    assert by_radius == sorted(by_radius)
    by_alpha = [certify_by(ballot, radius=0.5, alpha=a).most_flips for a in (1e-6, 1e-3, 0.3)]
    assert by_alpha == sorted(by_alpha, reverse=True)


@BOTH
def test_few_votes_certify_nothing_and_constant_bits_are_held(certify_by: Certify) -> None:
    few = HalfSpaces.drawn(48, 48, seed=0).ballot(8, seed=0)
    assert certify_by(few, radius=0.5, alpha=0.001).most_flips == 48
    constant = Ballot.of(np.ones((1000, 48), dtype=bool), deviation=1.0)
    assert certify_by(constant, radius=1.0, alpha=0.001).most_flips == 0


def test_a_ballot_needs_votes_for_both_parts() -> None:
    with pytest.raises(ValueError, match="draw 4 or more"):
        Ballot.of(np.ones((3, 48), dtype=bool), deviation=1.0)


@BOTH
def test_a_tolerance_covers_the_codes_that_finite_votes_compute(certify_by: Certify) -> None:
    """After the worst change 200 votes decide each bit: no code of 50 may break (each does once in 500)."""
    spaces = HalfSpaces.drawn(48, 48, seed=8)
    radius, num_votes = 0.6, 200
    tolerance = tolerance_of(num_votes, 48, alpha=0.001)
    certificate = certify_by(spaces.ballot(4000, seed=9), radius=radius, alpha=0.001, tolerance=tolerance)
    worst = spaces.worst_changes(radius)[-1]
    source = np.random.default_rng(10)
    for _ in range(50):
        share = source.binomial(num_votes, 1 - spaces.shares_against(worst)) / num_votes
        flipped = (share >= 0.5) != certificate.code
        assert flipped.sum() <= certificate.most_flips
        assert not (flipped & ~certificate.loose).any()


def test_the_votes_of_a_model_are_those_of_its_noise() -> None:
    spaces = HalfSpaces.drawn(48, 48, seed=11)
    ballot = cast_ballot(
        spaces.soft,
        torch.zeros(48),
        Smoothing(deviation=1.0, num_votes=8000),
        generator=torch.Generator().manual_seed(0),
    )
    against = np.where(ballot.code, spaces.shares_against(np.zeros(48)), 1 - spaces.shares_against(np.zeros(48)))
    # 48 shares of 6,000 votes: five standard errors are left by chance once in 40,000.
    assert np.abs(ballot.against.mean(axis=0) - against).max() < 5 * 0.5 / 6000**0.5
