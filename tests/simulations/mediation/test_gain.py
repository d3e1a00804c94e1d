"""What plans gain is told with an interval over cases, not over queries."""

from __future__ import annotations

import numpy as np
import pytest

from simulations.mediation.cases import Asked
from simulations.mediation.gain import gain_of
from simulations.mediation.retrieval import WAYS, Ranked


def split(cases: list[int], plan_finds: list[bool]) -> Ranked:
    """A query a case that the words answer with the second of two captions, and the plan with the first if it finds."""
    words_QG = np.array([[1.0, 0.0]] * len(cases))
    plan_QG = np.array([[0.0, 1.0] if finds else [1.0, 0.0] for finds in plan_finds])
    return Ranked(
        asked=tuple(Asked(kind="plain", text="x", case=str(case), wanted=()) for case in cases),
        ranks=dict(zip(WAYS, (words_QG, words_QG, plan_QG), strict=True)),
        relevant_QG=np.array([[True, False]] * len(cases)),
        own_QG=np.zeros((len(cases), 2), bool),
        patients_G=np.array([100, 101]),
        patients_Q=np.array(cases),
    )


def test_gain_is_the_mean_over_all_queries_and_its_interval_is_over_cases() -> None:
    finds = [True] * 10 + [False] * 10
    gain = gain_of([split(list(range(20)), finds), split([0], [True])], "plain")
    assert gain is not None
    assert gain.difference == pytest.approx(0.5 * 11 / 21), "from a precision of a half to one where the plan finds"
    assert gain.num_cases == 20, "a case of two splits is one"
    assert gain.interval.low < gain.difference < gain.interval.high
    assert gain_of([split([1, 2], [True, False])], "negating") is None


def test_copies_of_a_case_are_no_more_evidence() -> None:
    """The broken variant: each query a case of its own, whose interval is too short."""
    finds, copies = [True, False] * 5, 40
    by_case = gain_of([split([case for case in range(10) for _ in range(copies)], sorted(finds * copies))], "plain")
    broken = gain_of([split(list(range(10 * copies)), sorted(finds * copies))], "plain")
    assert by_case is not None
    assert broken is not None
    assert by_case.difference == broken.difference
    length, too_short = (one.interval.high - one.interval.low for one in (by_case, broken))
    # Ten cases, half of them gaining a half: 2 x 1.96 x .25 / sqrt(10), a little less by percentiles of so few.
    assert length == pytest.approx(0.31, abs=0.06)
    assert too_short < length / 5
