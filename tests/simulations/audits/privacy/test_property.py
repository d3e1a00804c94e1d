"""A hospital's share of a finding is told from its updates, and labels that mean nothing are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from client.audits.linear import area_under_curve
from common.errors import DataError
from simulations.audits.privacy.membership import without_privacy
from simulations.audits.privacy.pipeline import PRODUCTION
from simulations.audits.privacy.property import CHECK
from simulations.audits.privacy.property_classifier import fitted
from simulations.audits.privacy.property_worlds import attackers_own, noise_seen, property_of, under_attack
from simulations.audits.privacy.subject import Subject


def test_line_is_that_of_a_dense_solution() -> None:
    generator = np.random.default_rng(2)
    updates, kind = generator.normal(size=(14, 9)), np.arange(14) % 2 == 1
    apart = updates[kind].mean(axis=0) - updates[~kind].mean(axis=0)
    within = np.concatenate([updates[side] - updates[side].mean(axis=0) for side in (kind, ~kind)])
    covariance = within.T @ within / 12 + (0.3**2 + (within**2).mean()) * np.eye(9)
    np.testing.assert_allclose(fitted(updates, kind, deviation=0.3), np.linalg.solve(covariance, apart))


def test_line_tells_kinds_apart_under_noise_and_random_labels_not() -> None:
    """400 noised updates a side of 2000: a random label's area lies within 0.5 +- 0.06 but once in a hundred."""
    generator = np.random.default_rng(4)
    apart = generator.normal(size=300) * 0.4
    own_kind, kind = np.arange(20) % 2 == 1, np.arange(800) % 2 == 1
    line = fitted(generator.normal(size=(20, 300)) * 0.1 + np.outer(own_kind, apart), own_kind, deviation=3.0)
    score = (generator.normal(size=(800, 300)) * 3.0 + np.outer(kind, apart)) @ line
    assert area_under_curve(score, kind.astype(float)) > 0.9
    assert abs(area_under_curve(score, generator.permutation(kind).astype(float)) - 0.5) < 0.06


def test_hospitals_of_the_two_kinds_share_no_patient_and_differ_in_the_share(subject: Subject) -> None:
    asked = property_of(subject)
    one, other = ({patient for group in half for patient in group} for half in asked.halves)
    assert not one & other
    has = {}
    for record in subject.consortium.records:
        has.setdefault(record.patient_id, set()).update(record.findings)
    for half in asked.halves:
        assert all(asked.finding not in has[patient] for patient in half[0])
        assert all(asked.finding in has[patient] for patient in half[1])
        assert min(map(len, half)) >= round(0.75 * asked.size)


def test_share_is_told_without_privacy(subject: Subject) -> None:
    """Eight hospitals of either kind, learnt from five: an area of 0.8 is reached by chance once in fifty."""
    config = without_privacy(subject).config
    sure = replace(config.training, sampling_probability=1.0, learning_rate=1.0)
    open_ = subject.with_config(replace(config, training=sure, federation=replace(config.federation, rounds=1)))
    asked = property_of(open_)
    own = attackers_own(PRODUCTION, open_, asked, num_hospitals=10)
    attacked = under_attack(PRODUCTION, open_, asked, num_hospitals=16)
    assert noise_seen(PRODUCTION, open_) == 0
    score = attacked.update_WP @ fitted(own.update_WP, own.has_many_W, deviation=0.0)
    assert area_under_curve(score, attacked.has_many_W.astype(float)) > 0.8


def test_a_cohort_without_findings_is_refused(subject: Subject) -> None:
    records = tuple(replace(record, findings=()) for record in subject.consortium.records)
    without = replace(subject, consortium=replace(subject.consortium, records=records))
    with pytest.raises(DataError, match="no findings are recorded"):
        property_of(without)


@pytest.mark.slow
def test_check_promises_nothing(subject: Subject) -> None:
    outcome = CHECK.outcome(PRODUCTION, subject)
    assert outcome.holds is None
    assert "does not bound" in outcome.sentence
