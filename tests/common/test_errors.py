"""The error tree: each error has the exit code the command promises, and a reason that says nothing of a patient."""

from __future__ import annotations

import pytest

from common import errors
from common.errors import WardroundError

EXIT_CODES = {
    "ConfigError": 2,
    "DataError": 2,
    "PlanError": 2,
    "CheckFailed": 1,
    "CannotTell": 1,
    "AggregationError": 1,
    "CheckpointError": 1,
    "AdmissionError": 1,
    "PolicyRefusal": 3,
    "BudgetExhausted": 3,
    "BundleRefused": 3,
    "TrustError": 4,
    "EvidenceError": 4,
    "ReplayedError": 4,
    "StaleError": 4,
    "PairKeyError": 4,
    "CohortSmall": 3,
    "ContextReused": 3,
    "LedgerError": 4,
    "AccountingError": 1,
}


def all_errors(base: type[WardroundError] = WardroundError) -> list[type[WardroundError]]:
    own = [kind for kind in base.__subclasses__() if kind.__module__ == errors.__name__]
    return [*own, *(below for kind in own for below in all_errors(kind))]


def test_every_error_has_its_exit_code() -> None:
    assert {kind.__name__: kind.exit_code for kind in all_errors()} == EXIT_CODES


def test_reasons_are_distinct_fixed_words() -> None:
    reasons = [kind.reason for kind in all_errors()]
    assert len(set(reasons)) == len(reasons)
    assert all(reason.isidentifier() for reason in reasons)


@pytest.mark.parametrize("kind", all_errors())
def test_reason_does_not_take_the_message(kind: type[WardroundError]) -> None:
    error = kind("patient Huber: no image")
    assert "Huber" not in error.reason
    assert str(error) == "patient Huber: no image"


def test_exhausted_budget_is_a_policy_refusal() -> None:
    assert issubclass(errors.BudgetExhausted, errors.PolicyRefusal)
