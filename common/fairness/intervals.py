"""Bootstrap intervals that respect patients.

Queries of one patient resemble one another, so a bootstrap over queries counts the same evidence several
times and its intervals are too short. Here patients are drawn, each with all of their queries: the percentile
cluster bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 13).

Shapes: Q queries, P patients, R resamples.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import AdmissionError


@dataclass(frozen=True, slots=True)
class Interval:
    """A closed interval around an estimate."""

    low: float
    high: float

    def as_json(self) -> dict[str, float]:
        """A plain JSON object."""
        return {"low": self.low, "high": self.high}

    @classmethod
    def from_json(cls, value: Any) -> Interval:  # noqa: ANN401 - a site's JSON, checked here
        """The inverse of `as_json`, for what another side sent.

        Raises:
            AdmissionError: Not two finite numbers, low before high.
        """
        if type(value) is not dict or value.keys() != {"low", "high"}:
            raise AdmissionError("interval: must be an object with low and high")
        low, high = value["low"], value["high"]
        finite = all(type(end) in (int, float) and abs(end) <= sys.float_info.max for end in (low, high))
        if not finite or low > high:
            raise AdmissionError("interval: low and high must be finite numbers, low not above high")
        return cls(float(low), float(high))


def patient_bootstrap(
    values_Q: NDArray[np.float64],
    patients_Q: Sequence[str] | NDArray[Any],
    *,
    generator: np.random.Generator,
    num_resamples: int,
    level: float = 0.95,
) -> Interval:
    """Percentile interval of the mean over queries, resampling whole patients.

    A resample draws P patients with replacement; its mean is the sum of their values over the number of their
    queries. Memory is about 16 bytes for each patient and resample. Percentile intervals of few patients are
    a little short: a nominal 95% covered 93% at 20 to 80 patients. One patient gives an interval of no
    length.

    Args:
        values_Q: One value a query.
        patients_Q: Patient of each query.
        generator: Source of the resamples; the same state gives the same interval.
        num_resamples: R; 1000 is usual for 95%.
        level: Nominal coverage, between 0 and 1.

    Raises:
        ValueError: No query, lengths differ, a value is not finite, or R or the level is out of range.
    """
    if len(values_Q) == 0 or len(values_Q) != len(patients_Q):
        raise ValueError(f"{len(values_Q)} values of {len(patients_Q)} patients: needs one patient for each value")
    if not np.isfinite(values_Q).all():
        raise ValueError("values hold NaN or infinity; leave those queries out")
    if num_resamples < 1 or not 0 < level < 1:
        raise ValueError(f"num_resamples={num_resamples}, level={level}: needs 1 or more, and between 0 and 1")
    _, patient_Q = np.unique(np.asarray(patients_Q), return_inverse=True)
    sums_and_counts_P2 = np.stack([np.bincount(patient_Q, weights=values_Q), np.bincount(patient_Q)], axis=1)
    num_patients = len(sums_and_counts_P2)
    times_drawn_RP = generator.multinomial(num_patients, np.full(num_patients, 1 / num_patients), size=num_resamples)
    sum_R, count_R = (times_drawn_RP @ sums_and_counts_P2).T
    low, high = np.quantile(sum_R / count_R, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))
