"""Canaries of one run: production passes, noise that is broken does not, and what is read is what was planted.

False alarms: a claim is refuted at one in a million, so 3 runs of a right pipeline fail here 3 times in a million.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from simulations.audits.privacy.canaries import everyone_in_each_step, play, studies_of_each
from simulations.audits.privacy.canaries_gradient import CONFIDENCE, EVERYONE, bounds_of, canaries_of
from simulations.audits.privacy.pipeline import PRODUCTION
from simulations.audits.privacy.subject import Subject
from tests.simulations.audits.privacy.broken import ClipByStudy, noise_of, with_source
from tests.simulations.audits.privacy.broken_noise import OF_CANARIES


def test_production_passes_three_of_three_and_the_bounds_are_near(subject: Subject) -> None:
    """Of 1,000 canaries at epsilon 8; the scores say more than the guesses, and never what is not so."""
    outcomes = [EVERYONE.outcome(PRODUCTION, replace(subject, seed=seed)) for seed in range(3)]
    assert [outcome.holds for outcome in outcomes] == [True] * 3
    for outcome in outcomes:
        assert outcome.claimed_epsilon is not None
        assert outcome.lower_bound is not None
        assert 0.6 * outcome.claimed_epsilon < outcome.lower_bound < 1.1 * outcome.claimed_epsilon


@pytest.mark.parametrize("variant", OF_CANARIES)
def test_broken_noise_is_caught(subject: Subject, variant: str) -> None:
    outcome = EVERYONE.outcome(OF_CANARIES[variant], subject)
    assert outcome.holds is False, outcome.sentence


def test_patient_clipped_by_study_is_caught(subject: Subject) -> None:
    """Two of three canaries have more than one study."""
    assert EVERYONE.outcome(with_source(ClipByStudy), subject).holds is False


def test_scores_without_noise_are_the_coins_times_the_steps(subject: Subject) -> None:
    """Each canary counts for one clip in each step, whatever its number of studies, but for the clip's own slack."""
    everyone = everyone_in_each_step(subject)
    run = play(noise_of(0.0), everyone, canaries_of(everyone, 40), rounds=2, label="test")
    assert run is not None
    assert run.event.steps == 10
    np.testing.assert_allclose(run.score_M, 10.0 * run.is_in_M, rtol=1e-5, atol=1e-5)


def test_sampled_canaries_bound_a_run_at_its_own_rate(subject: Subject) -> None:
    canaries = canaries_of(subject, 600)
    run = play(PRODUCTION, subject, canaries, rounds=1, label="sampled")
    assert run is not None
    bounds, claimed = bounds_of(run, CONFIDENCE), run.plan.epsilon_after(1)
    assert 0 < bounds.scores < 1.5 * claimed
    assert bounds.guesses <= bounds.curves + 0.5
    assert bounds.curves < 1.2 * claimed


def test_run_without_privacy_claims_nothing(subject: Subject) -> None:
    config = subject.config
    without = replace(subject, config=replace(config, privacy=replace(config.privacy, epsilon=None)))
    assert EVERYONE.outcome(PRODUCTION, without).holds is None


def test_canaries_have_one_to_three_studies() -> None:
    assert torch.bincount(studies_of_each(7)).tolist() == [1, 2, 3, 1, 2, 3, 1]
