"""What a check of privacy asks, and what came of it: in words, with the bound beside the claim.

A check attacks the parts that a `Pipeline` names, on the studies of a `Subject`. It holds, does not hold, or cannot
tell; that it holds says that this attack found nothing, and never that something is private. So each outcome says too
how large a fault would have been seen here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.config.registry import Registry
from simulations.audits.privacy.pipeline import Pipeline
from simulations.audits.privacy.subject import Subject


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One line, or row of points, of a plot.

    Attributes:
        label: What it is of.
        x: Positions.
        y: Values, as many.
        low: Lower ends of the values' intervals; empty where they have none.
        high: Upper ends.
    """

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A plot of what was measured.

    Attributes:
        title: What it shows, in words.
        x: Of the horizontal axis, with its unit.
        y: Of the vertical one.
        curves: What is drawn.
    """

    title: str
    x: str
    y: str
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Picture:
    """A grey picture, such as one that an attack made of an update.

    Attributes:
        label: What it is.
        pixels_HW: Grey values, uint8.
    """

    label: str
    pixels_HW: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a check measured.

    Attributes:
        holds: Whether the claim stands; None where it cannot be told here, as where the config asks for nothing of it.
        sentence: What was measured, in plain words with its figures.
        power: What this check would have seen here, and what not.
        claimed_epsilon: The epsilon that is claimed; None where the check is not of one.
        lower_bound: Epsilon that an attack shows at least, or the figure of the check's own that stands beside it.
        confidence: Probability with which the lower bound is one, below 1; None where it is exact arithmetic.
        plots: Of what was measured.
        pictures: Beside one another, in this order.
    """

    holds: bool | None
    sentence: str
    power: str
    claimed_epsilon: float | None = None
    lower_bound: float | None = None
    confidence: float | None = None
    plots: tuple[Plot, ...] = ()
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Outcome(Measured):
    """What a check came to.

    Attributes:
        name: The check's.
        question: What it asks.
        claim: The promise that it attacks.
        seconds: That it took.
    """

    name: str
    question: str
    claim: str
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """As a JSON object, without pictures."""
        return {name: value for name, value in asdict(self).items() if name != "pictures"}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One attack on a promise.

    Attributes:
        name: Under which it is asked for.
        question: What it asks, as a question.
        claim: The promise that it attacks, in a data protection officer's words.
        measure: Attacks the pipeline on a subject.
    """

    name: str
    question: str
    claim: str
    measure: Callable[[Pipeline, Subject], Measured]

    def outcome(self, pipeline: Pipeline, subject: Subject) -> Outcome:
        """Run the check, and time it.

        Raises:
            WardroundError: The subject cannot be used.
        """
        begun = time.monotonic()
        measured = self.measure(pipeline, subject)
        found = {field.name: getattr(measured, field.name) for field in fields(measured)}
        seconds = time.monotonic() - begun
        return Outcome(**found, name=self.name, question=self.question, claim=self.claim, seconds=seconds)


CHECKS: Registry[Check] = Registry(
    "--only",
    {
        # Arithmetic and statistics of the running code.
        "accounting": "simulations.audits.privacy.accounting:CHECK",
        "broken-records": "simulations.audits.privacy.broken_records:CHECK",
        "charges": "simulations.audits.privacy.charges:CHECK",
        "floats": "simulations.audits.privacy.floats:CHECK",
        "gate": "simulations.audits.privacy.gate:CHECK",
        "gradients": "simulations.audits.privacy.gradients:CHECK",
        "independence": "simulations.audits.privacy.independence:CHECK",
        "noise": "simulations.audits.privacy.noise:CHECK",
        "pair-clip": "simulations.audits.privacy.pair_clip:CHECK",
        "sampling": "simulations.audits.privacy.sampling:CHECK",
        "search-limits": "simulations.audits.privacy.search_limits:CHECK",
        "sensitivity": "simulations.audits.privacy.sensitivity:CHECK",
        "tables": "simulations.audits.privacy.tables:CHECK",
        # One run, two worlds, colluders.
        "canaries-everyone": "simulations.audits.privacy.canaries_gradient:EVERYONE",
        "canaries-hub": "simulations.audits.privacy.canaries_input:HUBS",
        "canaries-sampled": "simulations.audits.privacy.canaries_gradient:SAMPLED",
        "canaries-strange": "simulations.audits.privacy.canaries_input:STRANGE",
        "colluders": "simulations.audits.privacy.colluders:CHECK",
        "two-worlds-counts": "simulations.audits.privacy.two_worlds_counts:CHECK",
        "two-worlds-search": "simulations.audits.privacy.two_worlds_search:CHECK",
        "two-worlds-model": "simulations.audits.privacy.two_worlds:MODEL",
        "two-worlds-update": "simulations.audits.privacy.two_worlds:UPDATE",
        # Attacks on models and updates.
        "codes": "simulations.audits.privacy.codes:CHECK",
        "gradient-inversion": "simulations.audits.privacy.gradient_inversion:CHECK",
        "membership": "simulations.audits.privacy.membership:CHECK",
        "property": "simulations.audits.privacy.property:CHECK",
    },
)
"""Every check, in the order of `CHECKS.names`: by name."""

QUICK: tuple[str, ...] = (
    "accounting",
    "broken-records",
    "canaries-everyone",
    "charges",
    "colluders",
    "floats",
    "gate",
    "gradients",
    "independence",
    "noise",
    "pair-clip",
    "sampling",
    "search-limits",
    "sensitivity",
    "tables",
    "two-worlds-counts",
)
"""The checks that together take less than two minutes on two cores: those of continuous integration."""
