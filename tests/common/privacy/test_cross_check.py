"""Two accountants agree over the range of real runs, and a wrong one of either is caught and nothing reported."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants import PRVAccountant, RDPAccountant

from common.errors import AccountingError
from common.privacy import cross_check
from common.privacy.accountant import Relation, epsilon_of
from common.privacy.cross_check import Spent, spent_by
from common.privacy.events import DiscreteLaplace, Event, SampledGaussian, TruncatedSampledGaussian


@pytest.fixture(autouse=True)
def forgetful() -> None:
    """What a broken PRV said is not remembered."""
    cross_check._by_prv.cache_clear()


def event(steps: int, *, noise: float = 1.6, probability: float = 0.3) -> SampledGaussian:
    return SampledGaussian(noise_multiplier=noise, sampling_probability=probability, steps=steps)


COUNTS = DiscreteLaplace(noise_scale=10.0, releases=8)
CUT = TruncatedSampledGaussian(
    noise_multiplier=2.0, sampling_probability=0.1, steps=10, most_patients=511, most_sampled=60
)


def test_spent_states_both_relations_and_both_accountants() -> None:
    """The reference figures of q .02, sigma 1, 2,000 steps: PLD 5.616 and 9.406, PRV 5.626."""
    spent = spent_by([event(1000, noise=1.0, probability=0.02)] * 2, delta=1e-5)
    assert spent.epsilon == pytest.approx(5.616, abs=0.02)
    assert spent.epsilon_replace_one == pytest.approx(9.406, abs=0.02)
    assert spent.epsilon_by_prv == pytest.approx(5.626, abs=0.04)
    assert spent.delta == 1e-5


def test_spent_is_below_what_renyi_accounting_states() -> None:
    """Renyi accounting is never below the truth, and above PLD: 6.15 there."""
    renyi = RDPAccountant()
    renyi.history = [(1.0, 0.02, 2000)]
    assert spent_by([event(2000, noise=1.0, probability=0.02)], delta=1e-5).epsilon < renyi.get_epsilon(1e-5) < 6.2


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    noise=st.floats(0.3, 20), probability=st.floats(0.002, 0.99), steps=st.integers(1, 2000), power=st.floats(-8, -1.6)
)
def test_accountants_agree_over_the_range_of_real_runs(
    noise: float, probability: float, steps: int, power: float
) -> None:
    spent = spent_by([event(steps, noise=noise, probability=probability)], delta=10**power)
    if spent.epsilon <= 100:
        assert spent.epsilon_by_prv is not None
        assert abs(spent.epsilon_by_prv - spent.epsilon) <= 0.01 * max(spent.epsilon, 0.05)


def test_accountants_agree_on_a_composition_of_kinds() -> None:
    parts: list[Event] = [event(20), event(7, noise=1.0), CUT, COUNTS, event(3, probability=1.0, noise=9.0)]
    spent = spent_by(parts, delta=1e-3)
    shared = [event(20), event(7, noise=1.0), event(10, noise=2.0, probability=0.1)]
    assert spent.epsilon_by_prv == pytest.approx(epsilon_of(shared, delta=1e-3), rel=0.01)
    assert spent.epsilon_by_prv < spent.epsilon == epsilon_of(parts, delta=1e-3)


@pytest.mark.parametrize(
    "parts",
    [[], [COUNTS], [event(0)], [event(5, probability=0.0)], [event(5, probability=1.0)], [event(5, noise=0.1)]],
    ids=["nothing", "counts", "no step", "nobody sampled", "everyone sampled", "little noise"],
)
def test_spent_without_a_second_opinion_says_so(parts: list[Event]) -> None:
    spent = spent_by(parts, delta=1e-3)
    assert spent == Spent(
        epsilon=epsilon_of(parts, delta=1e-3),
        epsilon_replace_one=epsilon_of(parts, delta=1e-3, relation=Relation.REPLACE_ONE),
        epsilon_by_prv=None,
        delta=1e-3,
    )


def test_spent_without_noise_is_infinite() -> None:
    spent = spent_by([event(5), event(1, noise=0.0)], delta=1e-3)
    assert (spent.epsilon, spent.epsilon_replace_one) == (math.inf, math.inf)
    assert spent.epsilon_by_prv is not None


def test_spent_beyond_any_use_is_not_checked() -> None:
    assert spent_by([event(400, noise=0.5)], delta=1e-3).epsilon_by_prv is None
    assert spent_by([event(100_001, noise=500.0)], delta=1e-3).epsilon_by_prv is None


@pytest.mark.parametrize("factor", [0.0, 0.5, 0.97, 1.03, 2.0])
def test_spent_refuses_where_pld_is_wrong(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(events: list[Event], **options: Any) -> float:
        return factor * epsilon_of(events, **options)

    monkeypatch.setattr(cross_check, "epsilon_of", wrong)
    with pytest.raises(AccountingError, match=r"two accountants differ.*nothing is reported"):
        spent_by([event(20)], delta=1e-3)


Broken = Callable[[PRVAccountant], None]


def one_step_missing(accountant: PRVAccountant) -> None:
    (noise, probability, steps) = accountant.history[0]
    accountant.history = [(noise, probability, steps - 1)]


def sampling_two_percent_too_often(accountant: PRVAccountant) -> None:
    (noise, probability, steps) = accountant.history[0]
    accountant.history = [(noise, 1.02 * probability, steps)]


@pytest.mark.parametrize("broken", [one_step_missing, sampling_two_percent_too_often])
def test_spent_refuses_where_prv_is_wrong(broken: Broken, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(PRVAccountant):  # type: ignore[misc]
        def get_epsilon(self, *args: Any, **options: Any) -> float:
            broken(self)
            return float(super().get_epsilon(*args, **options))

    monkeypatch.setattr("opacus.accountants.PRVAccountant", Wrong)
    with pytest.raises(AccountingError, match="two accountants differ"):
        spent_by([event(12)], delta=1e-3)


def test_spent_refuses_where_prv_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(PRVAccountant):  # type: ignore[misc]
        def get_epsilon(self, *_: Any, **__: Any) -> float:
            raise RuntimeError("Discrete mean differs significantly from continuous mean.")

    monkeypatch.setattr("opacus.accountants.PRVAccountant", Failing)
    with pytest.raises(AccountingError, match=r"PRV cannot compose.*Discrete mean"):
        spent_by([event(12)], delta=1e-3)


def test_accounting_error_is_a_failed_check() -> None:
    assert (AccountingError.exit_code, AccountingError.reason) == (1, "accounting")


@pytest.mark.parametrize("delta", [1e-2, 1e-1, 0.5])
def test_spent_of_next_to_nothing_agrees(delta: float) -> None:
    """PLD's epsilon is 0 there, and PRV's below."""
    spent = spent_by([event(1, noise=50.0, probability=0.01)], delta=delta)
    assert spent.epsilon == 0
    assert spent.epsilon_by_prv is not None
    assert 0 <= spent.epsilon_by_prv <= 0.001
