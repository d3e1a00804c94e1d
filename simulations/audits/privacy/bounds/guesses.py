"""Epsilon from guesses about many canaries of one run: who of them took part?

Each of m canaries takes part by a fair coin of its own; after the run the auditor guesses the coins of r of them and
abstains from the rest. How many guesses are right says how much the run told. Which r, and the rule of guessing, are
fixed before; the auditor may do with the run's outcome whatever it likes.

Two bounds of the same guesses:

* `epsilon_of_guesses`: Steinke, Nasr and Jagielski (NeurIPS 2023, arXiv 2305.08846), theorem 5.2. If the run is
  (epsilon, delta)-DP, then the number of right guesses W is at most as large as a binomial of r coins with heads
  e^epsilon / (1 + e^epsilon), but for what delta allows:

      P[W >= v] <= beta + 2 m delta max over i of P[v > B >= v - i] / i,    beta = P[B >= v].

* `refuted_by_guesses`: whether they refute a whole trade-off curve (Mahloujifar, Melis and Chaudhuri, ICML 2025, arXiv
  2410.22235). It uses more of the mechanism and says more, as long as the mechanism is of the curves' family.

Proof of the second, for suffixes. Let p_j be the probability of j right guesses, T = {i, ..., r}, and

    R_i = sum over j >= i of j p_j / m,      H_i = sum over j >= i of (r - j) p_j / m.

Look at one canary with all other coins fixed. A set of outcomes in which its guess is right with this coin is one in
which it is wrong with the other coin, and the number of right guesses is then one less. So "right, and the number is in
T" has at most the hits of a test whose false alarms are "wrong, and the number is in T - 1". Averaged over canaries, as
1 - f is concave: R_i <= 1 - f(H_{i-1}) for each i. Let tau = P[W >= v]. (1) All of tau may as well lie at v: moved down
from j > v, it lowers each R_i and raises each H_{i-1} with i <= v. (2) Below v, level i - 1 may as well have just the
mass that H_{i-1} >= curve(R_i) asks for: what it has beyond that, moved down a level with the same H, is less mass, and
lowers the R that follow. So the least mass of all levels together is that of the recursion below; where it exceeds 1,
there is no mechanism of this curve with P[W >= v] >= tau.

Unit of privacy: the patient; a canary is one, with all of its studies. Neighbouring relation: add or remove one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from scipy.stats import binom

from simulations.audits.privacy.bounds.trade_off import MOST_EPSILON, Curve

_HALVINGS = 20


@dataclass(frozen=True, kw_only=True)
class Guesses:
    """What was guessed of one run.

    Attributes:
        num_canaries: m, each in or out by a fair coin.
        num_guesses: r, fixed before the run.
        num_correct: v of them were right.

    Raises:
        ValueError: Not 0 <= v <= r <= m.
    """

    num_canaries: int
    num_guesses: int
    num_correct: int

    def __post_init__(self) -> None:
        if not 0 <= self.num_correct <= self.num_guesses <= self.num_canaries:
            raise ValueError(
                f"{self.num_correct} right guesses of {self.num_guesses} on {self.num_canaries} canaries: each must be "
                "at most the next"
            )


def epsilon_of_guesses(guesses: Guesses, *, delta: float, confidence: float) -> float:
    """The largest epsilon that the guesses refute; a run that is (epsilon, delta)-DP exceeds it with 1 - confidence.

    Args:
        guesses: Of one run.
        delta: At which epsilon is stated.
        confidence: Of the bound, below 1.
    """
    return largest_refuted(lambda epsilon: chance_of_guesses(guesses, epsilon, delta) <= 1 - confidence)


def chance_of_guesses(guesses: Guesses, epsilon: float, delta: float) -> float:
    """The most probable that as many right guesses can be under (epsilon, delta)-DP; it grows with epsilon."""
    num, right = guesses.num_guesses, guesses.num_correct
    coins = binom(num, expit(epsilon))
    beta = float(coins.sf(right - 1))
    if delta == 0 or not right:
        return beta
    fewer = np.arange(1, right + 1)
    alpha = float(((coins.sf(right - fewer - 1) - beta) / fewer).max(initial=0.0))
    return min(beta + 2 * guesses.num_canaries * delta * alpha, 1.0)


def refuted_by_guesses(guesses: Guesses, curve: Curve, *, confidence: float) -> bool:
    """Whether so many right guesses have a probability below 1 - confidence for every mechanism of a curve."""
    canaries, num, right = guesses.num_canaries, guesses.num_guesses, guesses.num_correct
    tail = 1 - confidence
    hits, alarms = tail * right / canaries, tail * (num - right) / canaries
    for level in range(right - 1, -1, -1):
        needed = max(alarms, curve(min(hits, 1.0)))
        if needed == alarms:
            # No level below needs mass either.
            break
        hits += level / (num - level) * (needed - alarms)
        alarms = needed
    return hits + alarms > num / canaries


def epsilon_of_curves(
    guesses: Guesses, curve_of: Callable[[float], Curve], *, confidence: float, halvings: int = _HALVINGS
) -> float:
    """The largest epsilon of a family of mechanisms that the guesses refute.

    Args:
        guesses: Of one run.
        curve_of: Curve of the family's mechanism of each epsilon at the delta of the claim.
        confidence: Of the bound, below 1.
        halvings: Of the interval in which it lies; what is returned is refuted, the one searched is not far above.
    """
    return largest_refuted(
        lambda epsilon: refuted_by_guesses(guesses, curve_of(epsilon), confidence=confidence), halvings=halvings
    )


def largest_refuted(is_refuted: Callable[[float], bool], *, halvings: int = _HALVINGS) -> float:
    """The end of a range of epsilon from 0 that is refuted; infinite beyond `MOST_EPSILON`, and 0 where none is."""
    if not is_refuted(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while is_refuted(high):
        if high >= MOST_EPSILON:
            return math.inf
        low, high = high, min(2 * high, MOST_EPSILON)
    for _ in range(halvings):
        middle = (low + high) / 2
        low, high = (middle, high) if is_refuted(middle) else (low, middle)
    return low
