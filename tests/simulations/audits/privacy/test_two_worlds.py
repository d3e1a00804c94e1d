"""Two worlds of training and of released counts, and canaries made of studies: power, and broken noise is caught.

False alarms: each run of a check refutes a right pipeline once in a million times.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from common.privacy.count_noise import laplace_noise
from common.privacy.held_out import FIGURES
from simulations.audits.privacy import canaries_input, two_worlds, two_worlds_counts
from simulations.audits.privacy.canaries import everyone_in_each_step, play
from simulations.audits.privacy.interface import Check
from simulations.audits.privacy.pipeline import PRODUCTION
from simulations.audits.privacy.subject import Subject
from tests.simulations.audits.privacy.broken import noise_of


@pytest.fixture(scope="module")
def telling(subject: Subject) -> Subject:
    """A run that tells both releases of counts with noise."""
    config = subject.config
    evaluation, fairness = replace(config.evaluation, epsilon=1.0), replace(config.fairness, epsilon=1.0)
    return replace(subject, config=replace(config, evaluation=evaluation, fairness=fairness))


@pytest.mark.slow
@pytest.mark.parametrize("check", [two_worlds.UPDATE, two_worlds.MODEL], ids=lambda check: check.name)
def test_training_of_production_passes_and_with_little_noise_does_not(subject: Subject, check: Check) -> None:
    """About 100 trainings in each world; epsilon 8 in two rounds."""
    outcome = check.outcome(PRODUCTION, subject)
    assert outcome.holds is True, outcome.sentence
    assert outcome.lower_bound is not None
    assert outcome.lower_bound > 0.5
    assert check.outcome(noise_of(0.25), subject).holds is False


@pytest.mark.parametrize("scale", [1.0, 0.0])
def test_few_trainings_tell_the_worlds_apart_where_there_is_little_noise(subject: Subject, scale: float) -> None:
    worlds = two_worlds.play(noise_of(scale), subject, rounds=1, num_trials=12)
    assert worlds is not None
    holds = worlds.most_noise(two_worlds.REFUTED_AT) >= worlds.event.noise_multiplier
    assert holds is (scale == 1.0)
    assert worlds.with_patient.mean() > worlds.without.mean()


def test_counts_of_production_pass_and_the_bounds_are_near(telling: Subject) -> None:
    outcome = two_worlds_counts.CHECK.outcome(PRODUCTION, telling)
    assert outcome.holds is True, outcome.sentence
    assert outcome.lower_bound is not None
    assert 0.8 < outcome.lower_bound < 1.1


def test_counts_with_too_little_noise_are_caught(telling: Subject) -> None:
    """Laplace noise of one vector where two are told, and Gaussian noise that is a fifth too narrow."""
    one_vector = replace(
        PRODUCTION,
        noise_of=lambda config: replace(laplace_noise(config.evaluation.epsilon, vectors=1), vectors=FIGURES),
    )
    for pipeline in (one_vector, noise_of(0.8)):
        outcome = two_worlds_counts.CHECK.outcome(pipeline, telling)
        assert outcome.holds is False, outcome.sentence


def test_exact_counts_claim_no_epsilon(subject: Subject) -> None:
    config = subject.config
    evaluation, fairness = replace(config.evaluation, epsilon=None), replace(config.fairness, epsilon=None)
    exact = replace(subject, config=replace(config, evaluation=evaluation, fairness=fairness))
    assert two_worlds_counts.CHECK.outcome(PRODUCTION, exact).holds is None


@pytest.mark.slow
@pytest.mark.parametrize("check", [canaries_input.STRANGE, canaries_input.HUBS], ids=lambda check: check.name)
def test_canaries_made_of_studies_pass_in_production(subject: Subject, check: Check) -> None:
    outcome = check.outcome(PRODUCTION, subject)
    assert outcome.holds is True, outcome.sentence
    assert outcome.claimed_epsilon is not None
    assert outcome.lower_bound is not None
    assert 0 < outcome.lower_bound < outcome.claimed_epsilon


@pytest.mark.parametrize("kind", [canaries_input.STRANGE_KIND, canaries_input.HUB_KIND], ids=lambda kind: kind.words)
def test_canaries_made_of_studies_are_read_where_there_is_no_noise(subject: Subject, kind: canaries_input.Kind) -> None:
    everyone = everyone_in_each_step(subject)
    canaries = canaries_input.canaries_of(everyone, kind, 60)
    run = play(noise_of(0.0), everyone, canaries, rounds=1, label=kind.words)
    assert run is not None
    assert run.guesses(60).num_correct > 55


def test_claim_that_is_too_small_is_refuted_by_studies(subject: Subject) -> None:
    """A run of epsilon 1 without its noise."""
    config = subject.config
    small = replace(subject, config=replace(config, privacy=replace(config.privacy, epsilon=1.0)))
    assert canaries_input.STRANGE.outcome(noise_of(0.0), small).holds is False
