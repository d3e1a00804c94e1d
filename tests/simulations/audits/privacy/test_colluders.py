"""Colluders: production keeps to both figures, what is shown follows the law of the noise, broken noise is caught.

False alarms: each run of the check refutes a right pipeline once in a million times.
"""

from __future__ import annotations

import pytest

from simulations.audits.privacy.colluders import CHECK
from simulations.audits.privacy.pipeline import PRODUCTION
from simulations.audits.privacy.subject import Subject
from tests.simulations.audits.privacy.broken_noise import OF_COLLUDERS, SAME_OPENING


def test_production_passes_three_of_three_and_shows_nearly_what_the_law_allows(sharing: Subject) -> None:
    """The last opens a round as the variants below do, and breaks nothing."""
    for pipeline in (PRODUCTION, PRODUCTION, SAME_OPENING):
        outcome = CHECK.outcome(pipeline, sharing)
        assert outcome.holds is True, outcome.sentence
    shown, stated, allowed = (curve.y for curve in outcome.plots[0].curves)
    assert len(shown) == 4
    assert shown == tuple(sorted(shown))
    assert stated[0] == stated[1] < stated[2] == stated[3]
    for found, limit in zip(shown, allowed, strict=True):
        assert 0.91 * limit < found < 1.03 * limit


@pytest.mark.parametrize("variant", [name for name in OF_COLLUDERS if name != "noise halved"])
def test_broken_noise_is_caught(sharing: Subject, variant: str) -> None:
    outcome = CHECK.outcome(OF_COLLUDERS[variant], sharing)
    assert outcome.holds is False, outcome.sentence


def test_own_noise_is_tried_against_all_messages_at_once(subject: Subject) -> None:
    assert CHECK.outcome(PRODUCTION, subject).holds is True
    for variant in ("noise halved", "one noise key on two sites"):
        assert CHECK.outcome(OF_COLLUDERS[variant], subject).holds is False, variant
