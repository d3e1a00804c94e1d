"""Whether the server can tell from a hospital's updates what share of its patients have a finding.

Epsilon is of one patient, and a share is of many: nothing is promised here. What the attack reaches is told beside what
it reaches without privacy, so that a hospital that holds its case mix secret knows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from client.audits.linear import area_under_curve
from common.fairness.intervals import Interval
from common.seeds import numpy_generator
from simulations.audits.code_inversion import area_interval
from simulations.audits.privacy.interface import Check, Curve, Measured, Plot
from simulations.audits.privacy.membership import without_privacy
from simulations.audits.privacy.pipeline import Pipeline
from simulations.audits.privacy.property_classifier import fitted
from simulations.audits.privacy.property_worlds import (
    FEW,
    MANY,
    attackers_own,
    noise_seen,
    property_of,
    under_attack,
)
from simulations.audits.privacy.subject import Subject

NUM_OWN, NUM_ATTACKED = 16, 24
NUM_RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class Inferred:
    """How well a share is told.

    Attributes:
        finding: Whose.
        size: Patients of a hospital.
        num_hospitals: Under attack.
        area: Probability that a hospital of many scores above one of few. 0.5: chance.
        interval: Of it, 95%, over hospitals.
    """

    finding: str
    size: int
    num_hospitals: int
    area: float
    interval: Interval


def inferred(
    pipeline: Pipeline, subject: Subject, *, num_own: int = NUM_OWN, num_attacked: int = NUM_ATTACKED
) -> Inferred:
    """Tell hospitals of many from hospitals of few by what they send.

    Raises:
        DataError: No finding is recorded, or by too few patients.
    """
    asked = property_of(subject)
    own = attackers_own(pipeline, subject, asked, num_hospitals=num_own)
    attacked = under_attack(pipeline, subject, asked, num_hospitals=num_attacked)
    line_P = fitted(own.update_WP, own.has_many_W, deviation=noise_seen(pipeline, subject))
    score_V, many_V = attacked.update_WP @ line_P, attacked.has_many_W.astype(np.float64)
    return Inferred(
        finding=asked.finding,
        size=asked.size,
        num_hospitals=num_attacked,
        area=area_under_curve(score_V, many_V),
        interval=area_interval(
            score_V,
            many_V,
            np.arange(num_attacked).astype(str),
            numpy_generator(subject.seed, "audit", "property", "interval"),
            NUM_RESAMPLES,
        ),
    )


def measure(pipeline: Pipeline, subject: Subject) -> Measured:
    """Tell the share under the run's privacy, and without.

    Raises:
        DataError: No finding is recorded, or by too few patients.
    """
    found = {"no privacy": inferred(pipeline, without_privacy(subject))}
    epsilon = subject.config.privacy.epsilon
    if epsilon is not None:
        found = {f"epsilon {epsilon:g}": inferred(pipeline, subject), **found}
    one = next(iter(found.values()))
    told = "; ".join(
        f"{label}: area {each.area:.2f} ({each.interval.low:.2f} to {each.interval.high:.2f})"
        for label, each in found.items()
    )
    return Measured(
        holds=None,
        sentence=(
            f"Whether {FEW:.0%} or {MANY:.0%} of a hospital's {one.size} patients have {one.finding}, told from all "
            f"that it sends: {told}; a guess is 0.50. An epsilon is of one patient and does not bound this."
        ),
        power=(
            f"{one.num_hospitals} hospitals were judged by a line learnt from {NUM_OWN} others without noise. Shares "
            "that are nearer to one another are told less well, larger hospitals better."
        ),
        plots=(
            Plot(
                title="How well a hospital's share of a finding is told from what it sends",
                x=", ".join(f"{i}: {label}" for i, label in enumerate(found)),
                y="area under the curve (0.5 is a guess)",
                curves=(
                    Curve(
                        label=one.finding,
                        x=tuple(float(i) for i in range(len(found))),
                        y=tuple(each.area for each in found.values()),
                        low=tuple(each.interval.low for each in found.values()),
                        high=tuple(each.interval.high for each in found.values()),
                    ),
                ),
            ),
        ),
    )


CHECK = Check(
    name="property",
    question="Does what a hospital sends tell how many of its patients have a finding?",
    claim="Nothing is promised: epsilon is of one patient, and a share is of many. It is measured.",
    measure=measure,
)
