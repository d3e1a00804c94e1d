"""How much more plans find than words, with an interval over cases.

Each query is asked both ways, so that the difference is its own; queries of one case resemble one another, over splits
too, so whole cases are drawn (`common/fairness/intervals.py`). The cases of one pack are all that is drawn: another
pack is another question.

Shapes: Q queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.fairness.intervals import Interval, patient_bootstrap
from common.seeds import numpy_generator
from simulations.mediation.retrieval import WAYS, Ranked

NUM_RESAMPLES = 2000


@dataclass(frozen=True, kw_only=True)
class Gain:
    """Average precision by the plan less that by the words, mean over the queries of all splits.

    Attributes:
        difference: The mean.
        interval: Around it, at 95%.
        num_cases: How many cases the queries were made of.
    """

    difference: float
    interval: Interval
    num_cases: int

    def as_json(self) -> dict[str, float | int]:
        """A plain JSON object."""
        return {"difference": self.difference, **self.interval.as_json(), "cases": self.num_cases}


def gain_of(splits: Sequence[Ranked], kind: str) -> Gain | None:
    """What plans gain in queries of one kind; None where there is no query."""
    found = [one.precisions()[kind] for one in splits]
    differences_Q = np.concatenate([one[WAYS[-1]] - one[WAYS[0]] for one in found])
    cases_Q = np.concatenate([one.cases_of(kind) for one in splits])
    if not len(differences_Q):
        return None
    generator = numpy_generator(0, "mediation", "gain", kind)
    interval = patient_bootstrap(differences_Q, cases_Q, generator=generator, num_resamples=NUM_RESAMPLES)
    return Gain(difference=float(differences_Q.mean()), interval=interval, num_cases=len(np.unique(cases_Q)))
