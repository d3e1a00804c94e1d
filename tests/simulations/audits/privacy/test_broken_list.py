"""Each variant that must be caught has a named check, which catches it each time; production passes each time.

False alarms: of 20 runs of a right pipeline, the statistical checks fail one less than once in 5,000 times.
"""

from __future__ import annotations

import pytest

from simulations.audits.privacy.interface import CHECKS, QUICK
from simulations.audits.privacy.pipeline import PRODUCTION
from simulations.audits.privacy.subject import Subject
from tests.simulations.audits.privacy.broken_list import CASES, COLLUDERS, MUST, Case, count

BUDGET_SECONDS = 200.0


def test_each_variant_that_must_be_caught_has_a_named_check() -> None:
    named = {case.variant: case.check for case in CASES}
    assert named.keys() >= set(MUST)
    assert set(named.values()) <= set(CHECKS.names)
    assert len(MUST) == len(set(MUST)) == 16


def test_no_variant_is_production() -> None:
    assert all(case.pipeline != PRODUCTION for case in CASES)


def test_each_variant_that_must_be_caught_is_caught_in_continuous_integration() -> None:
    quick = {case.variant for case in CASES if case.check in QUICK}
    assert quick >= set(MUST)


@pytest.mark.slow
@pytest.mark.parametrize("check", QUICK)
def test_production_passes_twenty_of_twenty(subject: Subject, sharing: Subject, check: str) -> None:
    on = sharing if check == COLLUDERS else subject
    found = count(check, PRODUCTION, on, holds=True, runs=20, budget=BUDGET_SECONDS)
    assert found.right == found.runs


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.variant}: {case.check}")
def test_variant_is_caught_twenty_of_twenty(subject: Subject, sharing: Subject, case: Case) -> None:
    on = sharing if case.shares_noise else subject
    found = count(case.check, case.pipeline, on, holds=False, runs=20, budget=BUDGET_SECONDS)
    assert found.right == found.runs
