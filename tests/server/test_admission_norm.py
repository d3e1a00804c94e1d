"""The norm at admission: which numbers pass, and the reason of each that does not, against exact float64 sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import AdmissionError
from common.privacy.release import Mechanism, Release
from common.wire.flower import UPDATE, Reply
from common.wire.update import ArrayPlan
from server.admission import Admission

MAX_NORM = 100.0


def _verdict(values: np.ndarray) -> str | None:
    update = {"first": values[:1], "rest": values[1:]}
    release = Release(name=UPDATE, mechanism=Mechanism.NOT_PRIVATE)
    reply = Reply(site="site", round_number=1, run="ab", update=update, statistics={}, releases=(release,))
    admission = Admission(plan=ArrayPlan.of(update), max_norm=MAX_NORM, statistics_by=Mechanism.NOT_PRIVATE)
    try:
        admission.admit(reply, event=None, earlier=(), into_P=np.empty(len(values), dtype=np.float32))
    except AdmissionError as error:
        return str(error)
    return None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("position", [0, 500, 999])
def test_admission_one_number_that_is_not_finite_is_nan(value: float, position: int) -> None:
    values = np.zeros(1000, dtype=np.float32)
    values[position] = value
    assert _verdict(values) == "nan"


def test_admission_finite_update_whose_square_overflows_float32_is_too_long_and_warns_nobody() -> None:
    assert _verdict(np.full(1000, 3e30, dtype=np.float32)) == "norm"


@given(values=st.lists(st.floats(-20, 20, width=32), min_size=2, max_size=60))
def test_admission_follows_the_exact_norm(values: list[float]) -> None:
    exact = math.sqrt(math.fsum(value * value for value in values))
    if math.isclose(exact, MAX_NORM, rel_tol=1e-5):
        return
    assert _verdict(np.array(values, dtype=np.float32)) == ("norm" if exact > MAX_NORM else None)
