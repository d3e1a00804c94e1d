"""Exchanges keep patients whole; p-values are as rare as they say, and those of single studies are not."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from client.audits.permutation import PatientExchange, holm, p_values


@given(
    patients=st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=20), seed=st.integers(min_value=0, max_value=9)
)
def test_exchange_moves_whole_patients_to_patients_of_as_many_studies(patients: list[str], seed: int) -> None:
    sites = ["one" if patient < "e" else "two" for patient in patients]
    for order in PatientExchange(patients, sites, np.random.default_rng(seed)).orders(3):
        assert sorted(order) == list(range(len(patients)))
        for patient in set(patients):
            mine = [i for i, name in enumerate(patients) if name == patient]
            source = {patients[order[i]] for i in mine}
            assert len(source) == 1
            other = source.pop()
            assert patients.count(other) == len(mine)
            assert (other < "e") == (patient < "e")


def test_p_value_is_that_of_all_exchanges() -> None:
    """Against every one of the 720 exchanges of six patients, counted one by one."""
    value, group = np.array([3.0, 1.0, 4.0, 1.5, 5.0, 9.0]), np.array([0.0, 0.0, 1.0, 0.0, 1.0, 1.0])
    every = np.array([[value @ group[list(order)]] for order in permutations(range(6))])
    seen = float(value @ group)
    exact = np.mean([statistic >= seen - 1e-9 for (statistic,) in every])
    assert p_values(np.array([seen]), every)[0] == pytest.approx(exact, abs=1 / 700)


def test_a_test_that_never_moves_says_nothing() -> None:
    moving = np.random.default_rng(0).normal(size=(99, 1))
    both = np.column_stack([moving, np.full(99, 2.0)])
    p_moving, p_still = p_values(np.array([9.0, 2.0]), both)
    assert p_still == 1.0
    assert p_moving == p_values(np.array([9.0]), moving)[0] == 0.01


@given(st.lists(st.floats(min_value=0, max_value=1), min_size=1, max_size=8))
def test_holm_agrees_with_its_definition(p_value_T: list[float]) -> None:
    """Rejects as the step-down procedure does, at every level that matters."""
    corrected = holm(p_value_T)
    for alpha in (0.01, 0.05, 0.3):
        rejected = set()
        for rank, position in enumerate(sorted(range(len(p_value_T)), key=lambda i: p_value_T[i])):
            if p_value_T[position] * (len(p_value_T) - rank) > alpha:
                break
            rejected.add(position)
        assert {i for i, value in enumerate(corrected) if value <= alpha} == rejected


def false_alarms(*, by_patient: bool) -> int:
    """Of 200 draws in which a group has nothing to do with a figure that is the same in a patient's five studies."""
    alarms = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        patient = np.repeat(np.arange(40), 5)
        figure = rng.normal(size=40)[patient]
        group = (rng.random(40) < 0.5)[patient].astype(float)
        units = patient if by_patient else np.arange(200)
        orders = PatientExchange(list(units), ["here"] * 200, rng).orders(199)

        def statistic(member_XN: np.ndarray, value_N: np.ndarray = figure) -> np.ndarray:
            return np.asarray(member_XN @ value_N - member_XN.mean(axis=-1) * value_N.sum())

        alarms += p_values(np.array([statistic(group)]), statistic(group[orders])[:, None])[0] <= 0.05
    return alarms


def test_false_alarms_are_as_rare_as_they_say_by_patient_and_not_by_study() -> None:
    """With n = 200 draws at level .05, alpha 1e-3; the broken variant takes a patient's studies for independent."""
    assert stats.binomtest(false_alarms(by_patient=True), 200, 0.05).pvalue > 1e-3
    assert stats.binomtest(false_alarms(by_patient=False), 200, 0.05, "greater").pvalue < 1e-3
