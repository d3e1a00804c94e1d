"""Epsilon from many trials of one test: was the patient there? Each trial is a run of its own.

The test, with its threshold, is fixed before the trials, or on others. Its rates of false alarms and of misses are
bounded from above (Clopper and Pearson, 1934), each with half of what the confidence leaves, and then:

* without any law of the noise (Jagielski, Ullman and Oprea, NeurIPS 2020, arXiv 2006.07709):
  epsilon >= ln((1 - delta - miss) / alarm), and the same with the two exchanged;
* for a Gaussian mechanism (Nasr et al., USENIX Security 2023, arXiv 2302.07956):
  mu >= Phi^-1(1 - alarm) - Phi^-1(miss).

Neighbouring relation: add or remove one patient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import ndtri
from scipy.stats import beta

from simulations.audits.privacy.bounds.trade_off import epsilon_of_mu


@dataclass(frozen=True, kw_only=True)
class Trials:
    """What a test made of trials with the patient, and of trials without.

    Attributes:
        num_with: Trials with the patient.
        missed: Of these, that the test took for trials without.
        num_without: Trials without.
        alarms: Of these, that the test took for trials with.

    Raises:
        ValueError: There are no trials of one kind, or more errors than trials.
    """

    num_with: int
    missed: int
    num_without: int
    alarms: int

    def __post_init__(self) -> None:
        if not (0 <= self.missed <= self.num_with and 0 <= self.alarms <= self.num_without):
            raise ValueError("a test has more errors than trials")
        if not (self.num_with and self.num_without):
            raise ValueError("two worlds need trials of both")

    def most_missed(self, confidence: float) -> float:
        """Upper end of the rate of misses."""
        return clopper_pearson_upper(self.missed, self.num_with, 1 - (1 - confidence) / 2)

    def most_alarms(self, confidence: float) -> float:
        """Upper end of the rate of false alarms; both ends hold together with the confidence."""
        return clopper_pearson_upper(self.alarms, self.num_without, 1 - (1 - confidence) / 2)


def clopper_pearson_upper(count: int, trials: int, confidence: float) -> float:
    """What the probability of an event that was seen `count` times is at most."""
    return 1.0 if count == trials else float(beta.ppf(confidence, count + 1, trials - count))


def epsilon_of_trials(trials: Trials, *, delta: float, confidence: float) -> float:
    """What every mechanism with these trials has at least, at a delta."""
    missed, alarms = trials.most_missed(confidence), trials.most_alarms(confidence)
    ratios = ((1 - delta - missed) / alarms, (1 - delta - alarms) / missed)
    return max(0.0, math.log(max(*ratios, 1.0)))


def gaussian_epsilon_of_trials(trials: Trials, *, delta: float, confidence: float) -> float:
    """What every Gaussian mechanism with these trials has at least, at a delta."""
    missed, alarms = trials.most_missed(confidence), trials.most_alarms(confidence)
    return epsilon_of_mu(max(float(ndtri(1 - alarms) - ndtri(missed)), 0.0), delta)
