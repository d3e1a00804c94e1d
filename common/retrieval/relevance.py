"""How sure a hit is: the probability that it is relevant, as public studies tell it, or that nobody can tell.

What is here goes along with a model: counts of public studies alone, a curve for each kind of query, gallery and width
of code. It is read without faiss and scikit-learn. How it is made says `common/retrieval/relevance_fit.py`; what
"relevant" means, `common/retrieval/relevance_pairs.py`.

A probability speaks of a gallery like the public one: where the studies sought are rarer than there, it is too high.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from common.retrieval.relevance_pairs import By

FORMAT = 1
LEAST_COVERAGE = 0.85
"""That a set of 90% must have held of patients whom it was not fitted to, to be told."""
_SMALL = 0.005
"""Rounds to nothing; that none of some public pairs was relevant does not say that none is."""
_MOST_CURVES = 256
_MOST_STEPS = 1024
_MOST_RANK = 1 << 16
"""Of a rank by plan, in bits either way: more is damage."""


class QueryKind(StrEnum):
    """What a query is made of."""

    TEXT = "text"
    IMAGE = "image"
    PLAN = "plan"
    """Words whose plan the studies are held against; the distance is then the rank, which can be below 0."""


class Word(StrEnum):
    """How a probability is meant."""

    ABOUT = "about"
    AT_LEAST = "at least"
    AT_MOST = "at most"


@dataclass(frozen=True, kw_only=True)
class Sure:
    """How sure a hit is.

    Attributes:
        word: How the probability is meant: of a distance that was rounded up, or is below all that were seen, it is a
            least one.
        probability: That the hit is relevant.
        low: Lower end of its interval.
        high: Upper end.
    """

    word: Word
    probability: float
    low: float
    high: float

    @property
    def sentence(self) -> str:
        """In words."""
        return f"relevant with {self.in_short}"

    @property
    def in_short(self) -> str:
        """The probability alone."""
        if self.word is Word.ABOUT and self.probability < _SMALL:
            return "less than 1%"
        if self.word is Word.AT_MOST:
            return f"{self.word} {max(1, math.ceil(100 * self.probability))}%"
        return f"{self.word} {100 * self.probability:.0f}%"

    @property
    def interval(self) -> str:
        """Its interval, in words."""
        return f"{100 * self.low:.0f} to {100 * self.high:.0f}%"

    def as_json(self) -> dict[str, Any]:
        """A plain JSON object."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Step:
    """Distances, or ranks, at which a study is as likely relevant.

    Attributes:
        nearest: The smallest that was seen, in bits.
        farthest: The largest.
        probability: That a study is relevant.
        low: Lower end of its interval.
        high: Upper end.
        num_pairs: Public pairs behind it.
    """

    nearest: int
    farthest: int
    probability: float
    low: float
    high: float
    num_pairs: int


@dataclass(frozen=True, kw_only=True)
class Point:
    """Pairs that were told about the same, by a curve that saw neither of their patients.

    Attributes:
        told: Mean of what they were told.
        found: Share that was relevant.
        low: Lower end of its interval.
        high: Upper end.
        num_pairs: How many they are.
    """

    told: float
    found: float
    low: float
    high: float
    num_pairs: int


@dataclass(frozen=True, kw_only=True)
class Curve:
    """How relevance falls with distance, or with the rank by a plan, for one kind of query, gallery and width.

    Attributes:
        query: What the queries are made of.
        gallery: What they are compared with: `images` or `reports`.
        bit_width: Bits of the codes.
        num_patients: Patients of the queries.
        num_pairs: Public pairs behind it.
        base_rate: Share that is relevant of pairs drawn blindly.
        steps: The nearest first; none where nobody can tell.
        points: Its reliability.
        error: Expected calibration error over all pairs; None where it could not be measured.
        error_of_hits: The same over the first hits of each query.
        within: Bits within which the conformal set lies; None where all studies would be in it.
        coverage: Share of relevant studies that such sets held, of patients that they had not seen.
        why: Why there are no steps; "" where there are.
    """

    query: QueryKind
    gallery: str
    bit_width: int
    num_patients: int
    num_pairs: int
    base_rate: float
    steps: tuple[Step, ...] = ()
    points: tuple[Point, ...] = ()
    error: float | None = None
    error_of_hits: float | None = None
    within: int | None = None
    coverage: float | None = None
    why: str = ""

    @property
    def is_blind(self) -> bool:
        """Whether even the nearest hits are not surely likelier than a study drawn blindly."""
        return bool(self.steps) and self.steps[0].low <= self.base_rate

    def of(self, distance: int, *, rounded_up: bool = False) -> Sure | None:
        """How sure a study at a distance is; None where nobody can tell.

        Args:
            distance: In bits; of a plan, the rank.
            rounded_up: Whether the true distance may be smaller.
        """
        if not self.steps:
            return None
        step = self.steps[min(bisect_right([step.farthest for step in self.steps], distance - 1), len(self.steps) - 1)]
        if distance > self.steps[-1].farthest:
            word = Word.AT_MOST
        elif rounded_up or distance < self.steps[0].nearest:
            word = Word.AT_LEAST
        else:
            word = Word.ABOUT
        if rounded_up and word is Word.AT_MOST:
            return None
        return Sure(word=word, probability=step.probability, low=step.low, high=step.high)

    @property
    def has_set(self) -> bool:
        """Whether the conformal set held about what it says, of patients that it had not seen."""
        return self.coverage is not None and self.coverage >= LEAST_COVERAGE

    def holds(self, distance: int) -> bool | None:
        """Whether a study at a distance is in the conformal set; None where nobody can tell."""
        return (self.within is None or distance <= self.within) if self.has_set else None


@dataclass(frozen=True, kw_only=True)
class Relevance:
    """What public studies tell of how sure a model's hits are.

    Attributes:
        model: Digest of the trained weights whose codes were compared; of ranks by plans, the model's own.
        by: What made a study relevant; None where nothing was measured.
        num_studies: Public studies behind it.
        num_patients: Their patients.
        curves: One for each kind of query, gallery and width.
        why: Why there is none; "" where there are some.
        format: Version of this form.
    """

    model: str
    by: By | None = None
    num_studies: int = 0
    num_patients: int = 0
    curves: tuple[Curve, ...] = ()
    why: str = ""
    format: int = FORMAT

    @property
    def tells(self) -> bool:
        """Whether there is a probability for any hit."""
        return any(curve.steps for curve in self.curves)

    def curve(self, *, query: QueryKind, gallery: str, bit_width: int) -> Curve | None:
        """The curve of one kind of query, gallery and width; None where there is none."""
        wanted = (query, gallery, bit_width)
        return next((one for one in self.curves if (one.query, one.gallery, one.bit_width) == wanted), None)

    def as_json(self) -> dict[str, Any]:
        """A plain JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Relevance:
        """The inverse of `as_json`.

        Raises:
            ValueError, TypeError, KeyError, AttributeError: It is no such object, or of a newer form.
        """
        curves = tuple(_curve(one) for one in value["curves"])
        by = None if value["by"] is None else By(value["by"])
        found = cls(**{**value, "by": by, "curves": curves})
        _check_counts(found.num_studies, found.num_patients)
        kinds = {(curve.query, curve.gallery, curve.bit_width) for curve in curves}
        if type(found.format) is not int or found.format != FORMAT or not len(kinds) == len(curves) <= _MOST_CURVES:
            raise ValueError("another form")
        if not isinstance(found.model, str) or not isinstance(found.why, str) or bool(found.why) == bool(curves):
            raise ValueError("neither curves nor why there are none")
        return found


def _curve(value: Mapping[str, Any]) -> Curve:
    steps = tuple(Step(**step) for step in value["steps"])
    points = tuple(Point(**point) for point in value["points"])
    curve = Curve(**{**value, "query": QueryKind(value["query"]), "steps": steps, "points": points})
    _check_counts(curve.bit_width, curve.num_patients, curve.num_pairs)
    _check_rates(curve.base_rate)
    rates = (curve.error, curve.error_of_hits, curve.coverage)
    if curve.gallery not in {"images", "reports"} or len(steps) > _MOST_STEPS or len(points) > _MOST_STEPS:
        raise ValueError("a gallery or a length that cannot be")
    if not isinstance(curve.why, str) or bool(curve.why) == bool(steps) or (steps and None in rates):
        raise ValueError("neither steps nor why there are none")
    is_plan = curve.query is QueryKind.PLAN
    least, most = (-_MOST_RANK, _MOST_RANK) if is_plan else (0, curve.bit_width)
    for step in steps:
        _check_counts(step.num_pairs)
        _check_bits(step.nearest, step.farthest, least=least, most=most)
        _check_rates(step.low, step.probability, step.high)
    for point in points:
        _check_counts(point.num_pairs)
        _check_rates(point.told)
        _check_rates(point.low, point.found, point.high)
    ends = [end for step in steps for end in (step.nearest, step.farthest)]
    falls = [step.probability for step in steps]
    if ends != sorted(ends) or falls != sorted(falls, reverse=True):
        raise ValueError("probabilities must fall with the distance")
    for rate in rates:
        if rate is not None:
            _check_rates(rate)
    if curve.within is not None:
        _check_bits(curve.within, least=least, most=most)
    return curve


def _check_bits(*values: object, least: int, most: int) -> None:
    if not all(type(value) is int and least <= value <= most for value in values):
        raise ValueError("a distance that cannot be")


def _check_counts(*values: object) -> None:
    if not all(type(value) is int and value >= 0 for value in values):
        raise ValueError("a count that cannot be")


def _check_rates(*values: object) -> None:
    """Rates between 0 and 1, in ascending order."""
    rates = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(rates) < len(values) or not all(math.isfinite(rate) and 0 <= rate <= 1 for rate in rates):
        raise ValueError("a rate that cannot be")
    if rates != sorted(rates):
        raise ValueError("an interval that does not hold its rate")
