"""Admission of one decoded reply: each rule refuses with its own reason, in the documented order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from common.errors import AdmissionError
from common.privacy.events import SampledGaussian
from common.privacy.release import Mechanism, Release
from common.wire.flower import STATISTICS, UPDATE, Reply
from common.wire.update import ArrayPlan, NamedArrays
from server.admission import Admission

EVENT = SampledGaussian(noise_multiplier=1.0, sampling_probability=0.3, steps=5)
OTHER_EVENT = replace(EVENT, noise_multiplier=0.9)
ARRAYS = {
    "towers.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "head.bias": np.array(-3.0, dtype=np.float32),
}
NORM = float(np.sqrt(0 + 1 + 4 + 9 + 16 + 25 + 9))
PLAN = ArrayPlan.of(ARRAYS)

IN_PRIVATE = Release(name=UPDATE, mechanism=Mechanism.PATIENT_DP_SGD, event=EVENT)
WITHOUT_PRIVACY = Release(name=UPDATE, mechanism=Mechanism.NOT_PRIVATE)


def reply_of(update: NamedArrays | None, *releases: Release) -> Reply:
    return Reply(site="north", round_number=1, run="ab", update=update, statistics={}, releases=releases)


def admit(
    *releases: Release, event: SampledGaussian | None = EVENT, max_norm: float = 100.0, first_value: float = 0.0
) -> NDArray[np.float32]:
    """The row that an update is written to."""
    weight = ARRAYS["towers.weight"].copy()
    weight[0, 0] = first_value
    reply = reply_of({**ARRAYS, "towers.weight": weight}, *releases)
    row_P = np.full(PLAN.num_values, 9.0, dtype=np.float32)
    Admission(plan=PLAN, max_norm=max_norm).admit(reply, event=event, into_P=row_P)
    return row_P


def test_admitted_update_is_written_in_the_plans_order() -> None:
    assert admit(IN_PRIVATE).tolist() == [0, 1, 2, 3, 4, 5, -3]


def test_order_of_the_replys_arrays_does_not_matter() -> None:
    reply = reply_of(dict(reversed(ARRAYS.items())), IN_PRIVATE)
    row_P = np.empty(PLAN.num_values, dtype=np.float32)
    Admission(plan=PLAN, max_norm=100.0).admit(reply, event=EVENT, into_P=row_P)
    assert row_P.tolist() == [0, 1, 2, 3, 4, 5, -3]


def test_reply_without_an_update_is_refused() -> None:
    reply = reply_of(None, IN_PRIVATE)
    with pytest.raises(AdmissionError, match=r"^keys$"):
        Admission(plan=PLAN, max_norm=1.0).admit(reply, event=EVENT, into_P=np.empty(7, dtype=np.float32))


@pytest.mark.parametrize(
    "releases",
    [
        (),
        (WITHOUT_PRIVACY,),
        (replace(IN_PRIVATE, event=None),),
        (replace(IN_PRIVATE, event=OTHER_EVENT),),
        (replace(IN_PRIVATE, event=replace(EVENT, steps=4)),),
        (replace(IN_PRIVATE, mechanism=Mechanism.PUBLIC),),
        (replace(IN_PRIVATE, name=STATISTICS),),
        (IN_PRIVATE, IN_PRIVATE),
        (IN_PRIVATE, WITHOUT_PRIVACY),
    ],
)
def test_private_run_takes_the_agreed_mechanism_and_event_alone(releases: tuple[Release, ...]) -> None:
    with pytest.raises(AdmissionError, match=r"^mechanism$"):
        admit(*releases)


@pytest.mark.parametrize("release", [IN_PRIVATE, replace(WITHOUT_PRIVACY, event=EVENT)])
def test_run_without_privacy_takes_no_update_that_claims_it(release: Release) -> None:
    assert admit(WITHOUT_PRIVACY, event=None)[-1] == -3
    with pytest.raises(AdmissionError, match=r"^mechanism$"):
        admit(release, event=None)


def test_norm_is_allowed_up_to_the_limit_itself() -> None:
    admit(IN_PRIVATE, max_norm=NORM)
    with pytest.raises(AdmissionError, match=r"^norm$"):
        admit(IN_PRIVATE, max_norm=NORM * (1 - 1e-6))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_number_that_is_not_finite_is_refused_even_where_any_norm_is_allowed(value: float) -> None:
    with pytest.raises(AdmissionError, match=r"^nan$"):
        admit(IN_PRIVATE, first_value=value, max_norm=np.inf)


def test_mechanism_is_checked_before_the_numbers() -> None:
    with pytest.raises(AdmissionError, match=r"^mechanism$"):
        admit(WITHOUT_PRIVACY, first_value=np.nan)
