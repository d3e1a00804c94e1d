"""What shared noise is worth, by another way than the proof's: the covariance of all that colluders see, inverted."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.pair_noise.law import PairLaw
from common.privacy.accountant import epsilon_of, noise_multiplier_for
from common.privacy.events import SampledGaussian

LAWS = st.builds(
    PairLaw,
    peers=st.integers(0, 12),
    colluding=st.integers(0, 14),
    factor=st.integers(1, 3),
)
Edge = tuple[int, int]


def star(n: int) -> list[Edge]:
    return [(0, j) for j in range(1, n)]


def ring(n: int) -> list[Edge]:
    return sorted({(min(i, (i + 1) % n), max(i, (i + 1) % n)) for i in range(n)})


def complete(n: int) -> list[Edge]:
    return [(i, j) for i in range(n) for j in range(i + 1, n)]


def worth(edges: Iterable[Edge], n: int, *, known: Iterable[int], factor: int) -> float:
    """Noise multiplier of site 0 against whoever sees all messages and all that the sites in `known` drew.

    Every draw is a column of unit variance. A message is a row; of it the best linear estimate by the others is taken
    away, and what is left of its variance counts.
    """
    edges, known = list(edges), set(known)
    draws: dict[tuple[str, object], int] = {}
    messages = np.zeros((n, n + len(edges)))
    for site in range(n):
        messages[site, draws.setdefault(("x", site), len(draws))] = 1
    for i, j in edges:
        column = draws.setdefault(("w", (i, j)), len(draws))
        messages[i, column], messages[j, column] = factor, -factor
    open_draws = [
        column
        for (kind, of), column in draws.items()
        if (kind == "x" and of in known) or (kind == "w" and isinstance(of, tuple) and known & set(of))
    ]
    seen = np.vstack([messages[1:], np.eye(len(draws))[open_draws]])
    return residual(messages[0], seen)


def residual(row: npt.NDArray[np.float64], seen: npt.NDArray[np.float64]) -> float:
    estimate = np.linalg.lstsq(seen.T, row, rcond=None)[0] @ seen
    return float(np.linalg.norm(row - estimate))


@pytest.mark.parametrize(("n", "colluding"), [(2, 0), (5, 1), (5, 3), (9, 2)])
@pytest.mark.parametrize("factor", [1, 2])
def test_worth_is_that_of_the_star_and_no_graph_is_worse(n: int, colluding: int, factor: int) -> None:
    law = PairLaw(peers=n - 1, colluding=colluding, factor=factor)
    known = range(1, colluding + 1)
    assert worth(star(n), n, known=known, factor=factor) == pytest.approx(law.guaranteed(1.0))
    assert worth(complete(n), n, known=known, factor=factor) >= law.guaranteed(1.0) * (1 - 1e-12)


@pytest.mark.parametrize("colluding", [0, 1])
def test_ring_is_worth_what_a_site_of_two_peers_has(colluding: int) -> None:
    law = PairLaw(peers=2, colluding=colluding, factor=1)
    assert worth(ring(7), 7, known=range(1, colluding + 1), factor=1) >= law.guaranteed(1.0) * (1 - 1e-12)


def test_one_colluder_more_than_stated_leaves_less() -> None:
    law = PairLaw(peers=4, colluding=1, factor=1)
    assert worth(star(5), 5, known=(1, 2), factor=1) < law.guaranteed(1.0) * 0.95
    assert worth(star(5), 5, known=(1, 2), factor=1) == pytest.approx(law.guaranteed(1.0, colluding=2))


def test_absent_peers_are_worth_no_less() -> None:
    """A site whose peers are all away, and one that has some, each absent one replaced by a draw of its own."""
    for absent in range(5):
        there = worth(star(5 - absent), 5 - absent, known=range(1, min(2, 5 - absent)), factor=1)
        assert np.sqrt(there**2 + absent) >= PairLaw(peers=4, colluding=1, factor=1).guaranteed(1.0)


@given(LAWS, st.floats(0.3, 100))
def test_own_multiplier_is_worth_what_it_was_made_for(law: PairLaw, guaranteed: float) -> None:
    own = law.own(guaranteed)
    assert law.guaranteed(own) == pytest.approx(guaranteed)
    assert law.alone(own) <= guaranteed * (1 + 1e-12)
    worths = [law.guaranteed(own, colluding=colluding) for colluding in range(law.peers + 2)]
    assert worths == sorted(worths, reverse=True)
    assert worths[-1] == pytest.approx(law.alone(own)), "with all peers colluding nothing but the own noise is left"


def test_epsilon_by_how_many_collude() -> None:
    """Five sites planned with one colluder, 100 steps, epsilon 8 at 1e-5; the figures of the design."""
    steps = {"sampling_probability": 0.3, "steps": 100}
    own = PairLaw(peers=4, colluding=1, factor=1).own(noise_multiplier_for(epsilon=8, delta=1e-5, **steps))
    law = PairLaw(peers=4, colluding=1, factor=1)
    multipliers = [*(law.guaranteed(own, colluding=colluding) for colluding in range(4)), law.alone(own)]
    found = [epsilon_of([SampledGaussian(noise_multiplier=m, **steps)], delta=1e-5) for m in multipliers]
    assert found == pytest.approx([7.0, 8.0, 9.4, 11.8, 16.5], rel=0.06)
    assert found[1] <= 8.0
