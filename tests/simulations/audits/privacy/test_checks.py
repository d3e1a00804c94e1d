"""Each check holds for production, and fails for the broken variants that it is there for.

False alarms: the checks of noise and sampling are statistical, on the operating system's entropy. Together they fail a
right pipeline less than once in 100,000 times: four tests at 1e-6, and some thousand standard scores above 6.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from simulations.audits.privacy.interface import CHECKS
from simulations.audits.privacy.pipeline import PRODUCTION
from simulations.audits.privacy.subject import Subject
from tests.simulations.audits.privacy.broken import BROKEN
from tests.simulations.audits.privacy.broken_release import RELEASES

MINE = (
    "accounting",
    "broken-records",
    "charges",
    "floats",
    "gate",
    "gradients",
    "independence",
    "noise",
    "pair-clip",
    "sampling",
    "search-limits",
    "sensitivity",
    "tables",
)


@pytest.mark.parametrize("name", MINE)
def test_check_holds_for_production(subject: Subject, name: str) -> None:
    outcome = CHECKS.load(name).outcome(PRODUCTION, subject)
    assert outcome.holds is True, outcome.sentence
    assert "private" not in f"{outcome.sentence} {outcome.power} {outcome.question}".lower()
    if outcome.claimed_epsilon is not None and outcome.lower_bound is not None:
        assert outcome.lower_bound <= outcome.claimed_epsilon * 1.05


@pytest.mark.parametrize("variant", [*BROKEN, *RELEASES])
def test_check_catches_a_broken_variant(subject: Subject, variant: str) -> None:
    name, pipeline = (BROKEN | RELEASES)[variant]
    outcome = CHECKS.load(name).outcome(pipeline, subject)
    assert outcome.holds is False, outcome.sentence


def test_every_check_states_its_own_name_and_power(subject: Subject) -> None:
    for name in CHECKS.names:
        check = CHECKS.load(name)
        assert check.name == name
        assert check.question.endswith("?")
    assert subject.config.privacy.epsilon is not None


@pytest.mark.parametrize(
    "name", ["charges", "gate", "independence", "tables", pytest.param("noise", marks=pytest.mark.slow)]
)
def test_check_holds_where_sites_share_noise(subject: Subject, name: str) -> None:
    shared = replace(subject.config, privacy=replace(subject.config.privacy, noise="shared"))
    outcome = CHECKS.load(name).outcome(PRODUCTION, subject.with_config(shared))
    assert outcome.holds is True, outcome.sentence


@pytest.mark.parametrize("name", ["accounting", "charges", "sampling"])
def test_check_cannot_tell_of_a_loss_that_is_clipped_pair_by_pair(subject: Subject, name: str) -> None:
    paired = replace(subject.config, loss=replace(subject.config.loss, name="pair_clip"))
    assert CHECKS.load(name).outcome(PRODUCTION, subject.with_config(paired)).holds is None
