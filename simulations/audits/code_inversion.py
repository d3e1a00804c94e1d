"""What a line, fitted to public studies, reads off a code: findings, sex, age.

The reader knows the model and public studies with their labels, and sees the codes of the hospitals' studies. Each
trait is told by the area under the curve over those studies: 0.5 is chance, and the embedding before it is cut to bits
stands for what could be read without the cut. A line is a weak reader; a stronger one could read more.

Shapes: N public studies, M studies of hospitals, D dimensions, T traits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client.audits.linear import Array, area_under_curve, fit
from common.fairness.intervals import Interval
from common.types import StudyRecord

LEAST_OF_EACH = 10
"""Studies on either side of a trait, public and not: with fewer it is left out."""
_LEVEL = 0.95


@dataclass(frozen=True, kw_only=True, eq=False)
class Trait:
    """Something that is known of each study, or is not.

    Attributes:
        name: What.
        public_N: Of the public studies: 1, 0, or NaN where it is not known.
        private_M: Of the hospitals'.
    """

    name: str
    public_N: Array
    private_M: Array


@dataclass(frozen=True, kw_only=True)
class Read:
    """How well a trait was read.

    Attributes:
        trait: Which.
        num_studies: Of the hospitals, of which it is known.
        area: Area under the curve.
        interval: Of it over patients, 95%.
    """

    trait: str
    num_studies: int
    area: float
    interval: Interval


def traits_among(public: Sequence[StudyRecord], private: Sequence[StudyRecord]) -> list[Trait]:
    """Each finding, sex, and whether the age is above the public median; those with enough studies on either side."""
    names = sorted({name for record in public for name in record.findings})
    ages = [record.age for record in public if record.age is not None]
    middle = float(np.median(ages)) if ages else 0.0

    def each(name: str, of: Sequence[StudyRecord]) -> Array:
        return np.array([_value(name, record, middle) for record in of], dtype=np.float64)

    traits = [Trait(name=name, public_N=each(name, public), private_M=each(name, private)) for name in _named(names)]
    return [trait for trait in traits if all(map(_enough, (trait.public_N, trait.private_M)))]


def _named(findings: Sequence[str]) -> list[str]:
    return ["sex", "age", *(f"finding {name}" for name in findings)]


def _value(name: str, record: StudyRecord, middle_age: float) -> float:
    if name == "sex":
        return {"F": 1.0, "M": 0.0}.get(record.sex or "", np.nan)
    if name == "age":
        return np.nan if record.age is None else float(record.age > middle_age)
    return float(name.removeprefix("finding ") in record.findings)


def _enough(value_N: Array) -> bool:
    return bool(min((value_N == 0).sum(), (value_N == 1).sum()) >= LEAST_OF_EACH)


def read_off(
    public_ND: Array,
    private_MD: Array,
    trait: Trait,
    patients_M: NDArray[np.str_],
    *,
    generator: np.random.Generator,
    num_resamples: int,
) -> Read:
    """How well a line reads a trait.

    Args:
        public_ND: What the reader learns from.
        private_MD: What it sees.
        trait: What it reads.
        patients_M: Whose studies they are.
        generator: Of the bootstrap.
        num_resamples: Of the bootstrap.
    """
    learns_N, seen_M = ~np.isnan(trait.public_N), ~np.isnan(trait.private_M)
    centre_D, spread_D = public_ND[learns_N].mean(axis=0), public_ND[learns_N].std(axis=0)
    scale_D = np.where(spread_D > 0, spread_D, np.inf)  # a bit that never varies says nothing
    weights = fit((public_ND[learns_N] - centre_D) / scale_D, trait.public_N[learns_N][:, None])
    score_M = ((private_MD[seen_M] - centre_D) / scale_D @ weights[:-1])[:, 0]
    true_M = trait.private_M[seen_M]
    return Read(
        trait=trait.name,
        num_studies=len(true_M),
        area=area_under_curve(score_M, true_M),
        interval=area_interval(score_M, true_M, patients_M[seen_M], generator, num_resamples),
    )


def area_interval(
    score_M: Array, true_M: Array, patients_M: NDArray[np.str_], generator: np.random.Generator, num_resamples: int
) -> Interval:
    """Interval of an area, 95%: percentiles over whole patients drawn with replacement, as it is no mean over studies.

    Args:
        score_M: Of each study.
        true_M: What is to be told of it, 0 or 1.
        patients_M: Whose it is.
        generator: Of the bootstrap.
        num_resamples: Of the bootstrap.
    """
    _, number_M = np.unique(patients_M, return_inverse=True)
    rows = np.split(np.argsort(number_M, kind="stable"), np.cumsum(np.bincount(number_M))[:-1])
    areas = []
    for _ in range(num_resamples):
        drawn = np.concatenate([rows[i] for i in generator.integers(len(rows), size=len(rows))])
        if 0 < true_M[drawn].sum() < len(drawn):
            areas.append(area_under_curve(score_M[drawn], true_M[drawn]))
    low, high = np.quantile(areas, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2]) if areas else (0.0, 1.0)
    return Interval(float(low), float(high))
