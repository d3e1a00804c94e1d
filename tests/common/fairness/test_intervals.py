"""Coverage of the patient bootstrap on clustered data; a bootstrap over queries is the negative control."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.errors import AdmissionError
from common.fairness.intervals import Interval, patient_bootstrap

TRUE_MEAN = 0.5
NUM_SIMULATIONS = 600


def clustered(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Hits of 40 patients with 1 to 8 queries each; each patient has a rate of their own, 0.5 on average."""
    num_queries = generator.integers(1, 9, size=40)
    rates = np.repeat(generator.beta(0.6, 0.6, size=40), num_queries)
    return (generator.random(len(rates)) < rates).astype(float), np.repeat(np.arange(40), num_queries)


def coverage(*, by_query: bool) -> float:
    """How often the interval holds the true mean."""
    generator = np.random.default_rng(2024)
    covered = 0
    for _ in range(NUM_SIMULATIONS):
        values, patients = clustered(generator)
        drawn = np.arange(len(values)) if by_query else patients
        interval = patient_bootstrap(values, drawn, generator=generator, num_resamples=400)
        covered += interval.low <= TRUE_MEAN <= interval.high
    return covered / NUM_SIMULATIONS


def test_patient_bootstrap_covers_about_as_often_as_it_says() -> None:
    # n = 600. A percentile interval of 40 patients truly covers 93 to 94%. Against 93.5% the bounds are four
    # standard errors (1.0 point) away: false alarm below 1e-4.
    assert 0.895 <= coverage(by_query=False) <= 0.975


def test_a_bootstrap_over_queries_covers_too_seldom() -> None:
    # Negative control: it truly covers about 72% here; the bound is nine standard errors above.
    assert coverage(by_query=True) < 0.89


def naive_bootstrap(values: np.ndarray, patients: np.ndarray, seed: int) -> Interval:
    """One resample at a time: draw patients, lay their queries side by side, average."""
    generator = np.random.default_rng(seed)
    of_patient = [values[patients == patient] for patient in np.unique(patients)]
    means = [
        np.concatenate([of_patient[i] for i in generator.integers(len(of_patient), size=len(of_patient))]).mean()
        for _ in range(8000)
    ]
    return Interval(*np.quantile(means, [0.05, 0.95]))


def test_the_interval_equals_a_bootstrap_by_the_book() -> None:
    generator = np.random.default_rng(7)
    num_queries = generator.integers(1, 9, size=40)
    values, patients = generator.random(num_queries.sum()) ** 2, np.repeat(np.arange(40), num_queries)
    order = generator.permutation(len(values))
    vectorised = patient_bootstrap(values[order], patients[order], generator=generator, num_resamples=8000, level=0.9)
    naive = naive_bootstrap(values, patients, seed=8)
    width = naive.high - naive.low
    # Each end is a 5% quantile of 8000 draws: its standard error is about 0.8% of the width.
    assert vectorised.low == pytest.approx(naive.low, abs=0.06 * width)
    assert vectorised.high == pytest.approx(naive.high, abs=0.06 * width)


def test_the_same_generator_gives_the_same_interval() -> None:
    values, patients = clustered(np.random.default_rng(1))
    names = [f"patient {patient}" for patient in patients]
    first, second = (
        patient_bootstrap(values, ids, generator=np.random.default_rng(3), num_resamples=200)
        for ids in (names, np.array(names))
    )
    assert first == second


def test_a_higher_level_gives_a_wider_interval() -> None:
    values, patients = clustered(np.random.default_rng(1))
    narrow, wide = (
        patient_bootstrap(values, patients, generator=np.random.default_rng(3), num_resamples=500, level=level)
        for level in (0.8, 0.99)
    )
    assert wide.low < narrow.low < values.mean() < narrow.high < wide.high


def test_one_patient_or_equal_values_give_an_interval_of_no_length() -> None:
    generator = np.random.default_rng(0)
    alone = patient_bootstrap(np.array([0.0, 1.0]), ["a", "a"], generator=generator, num_resamples=50)
    assert alone == Interval(0.5, 0.5)
    equal = patient_bootstrap(np.ones(4), list("abcd"), generator=generator, num_resamples=50)
    assert equal == Interval(1.0, 1.0)


@pytest.mark.parametrize(
    ("values", "patients", "options", "message"),
    [
        ([], [], {}, "one patient for each"),
        ([1.0], ["a", "b"], {}, "one patient for each"),
        ([np.nan], ["a"], {}, "NaN"),
        ([1.0], ["a"], {"num_resamples": 0}, "num_resamples=0"),
        ([1.0], ["a"], {"level": 1.0}, "level=1.0"),
    ],
)
def test_the_bootstrap_refuses_what_it_cannot_answer(
    values: list[float], patients: list[str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        patient_bootstrap(
            np.array(values), patients, generator=np.random.default_rng(0), **({"num_resamples": 9} | options)
        )


def test_intervals_survive_json() -> None:
    assert Interval.from_json(Interval(0.25, 0.5).as_json()) == Interval(0.25, 0.5)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [0, 1],
        {"low": 0.1},
        {"low": 0.2, "high": 0.1},
        {"low": "0", "high": 1},
        {"low": 0, "high": float("inf")},
        {"low": float("nan"), "high": 1},
        {"low": 0, "high": 10**400},
        {"low": 0, "high": 1, "more": 2},
    ],
)
def test_from_json_refuses_what_is_no_interval(value: Any) -> None:
    with pytest.raises(AdmissionError, match="interval"):
        Interval.from_json(value)
