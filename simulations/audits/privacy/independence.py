"""Is the noise of two steps, rounds, sites, parameters or restarts ever related?

Who sees the same noise twice subtracts it. Noise is drawn as a round draws it, from the gradient source of each site in
each of two rounds, in two processes' worth of sites that were built anew: a restart. The greatest standard score of any
two draws may not exceed `MOST_SCORE`, nor that of parameters that lie some places apart.

What sites share of their noise is meant to be related, with opposite signs: between sites of one round the score is
then that of what remains over the law's correlation.

Shapes: P trained parameters.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from client.dp.step import num_trained
from client.site import Site
from common.errors import ConfigError
from common.pair_noise.peers import peers_of
from simulations.audits.privacy.interface import Check, Measured
from simulations.audits.privacy.pipeline import Pipeline
from simulations.audits.privacy.steps import Bench, bench
from simulations.audits.privacy.subject import Subject

MOST_SCORE = 6.0
"""2e-9 of right pairs exceed it; of all pairs that are looked at, fewer than 3e-6."""
ROUNDS, STEPS, MOST_SITES = (1, 2), 3, 3
LAGS = (*range(1, 41), 2**10, 2**11)


@dataclass(frozen=True, kw_only=True)
class Draw:
    """The noise of one step over its stated deviation, and whose it is."""

    site: Site
    start: int
    round_number: int
    step: int
    unit_P: Tensor

    def __str__(self) -> str:
        return f"{self.site.name}, start {self.start + 1}, round {self.round_number}, step {self.step + 1}"


def measure(pipeline: Pipeline, subject: Subject) -> Measured:
    """Correlate all draws with one another, and the parameters of each."""
    draws = [draw for start in (0, 1) for draw in _draws(pipeline, subject, start)]
    pairs = [(abs(_score(a, b)), f"{a}, and {b}") for a, b in itertools.combinations(draws, 2)]
    within = [(_lagged(draw.unit_P), f"parameters of {draw}") for draw in draws]
    worst, where = max([*pairs, *within])
    size = len(draws[0].unit_P)
    return Measured(
        holds=bool(worst <= MOST_SCORE),
        sentence=(
            f"The greatest correlation among {len(draws)} draws of {size:,} values has a standard score of {worst:.1f} "
            f"({where}); it may be {MOST_SCORE:g}."
        ),
        power=(
            f"A share of {MOST_SCORE / math.sqrt(size):.1%} of the noise in common between any two steps, rounds, "
            "sites or restarts is seen."
        ),
    )


CHECK = Check(
    name="independence",
    question="Does noise ever repeat: over steps, rounds, hospitals, parameters, or after a restart?",
    claim="Noise is drawn anew for every step at every hospital, and a restart repeats none of it.",
    measure=measure,
)


def _draws(pipeline: Pipeline, subject: Subject, start: int) -> list[Draw]:
    with bench(pipeline, subject) as on:
        found = []
        for site in on.sites[:MOST_SITES]:
            if site.privacy is None:
                raise ConfigError("privacy.epsilon: null draws no noise; set privacy.epsilon=8")
            own = replace(on, site=site, plan=site.privacy)
            found += [draw for number in ROUNDS for draw in _of_round(own, start, number)]
        return found


def _of_round(on: Bench, start: int, number: int) -> list[Draw]:
    source, size = on.source(round_number=number), num_trained(on.model)
    zeros = torch.zeros(size, dtype=torch.float64)
    return [
        Draw(
            site=on.site,
            start=start,
            round_number=number,
            step=step,
            unit_P=source.noise(size).added_to(zeros).double() / on.noise_deviation,
        )
        for step in range(STEPS)
    ]


def _score(a: Draw, b: Draw) -> float:
    """Standard score of two draws' correlation, less what the law of shared noise asks for."""
    size = len(a.unit_P)
    asked = _by_law(a, b)
    return (float(a.unit_P @ b.unit_P) / size - asked) * math.sqrt(size / (1 + asked**2))


def _by_law(a: Draw, b: Draw) -> float:
    law = None if a.site.privacy is None else a.site.privacy.pair_law
    together = (a.start, a.round_number, a.step) == (b.start, b.round_number, b.step)
    if law is None or not together or a.site.pairing is None:
        return 0.0
    if b.site.name not in peers_of(a.site.name, a.site.pairing.cohort):
        return 0.0
    square: int = law.factor**2
    return -square / (1 + square * law.peers)


def _lagged(unit_P: Tensor) -> float:
    scores = [
        float(unit_P[lag:] @ unit_P[:-lag]) / math.sqrt(len(unit_P) - lag) for lag in LAGS if lag < len(unit_P) // 2
    ]
    return max(map(abs, scores))
