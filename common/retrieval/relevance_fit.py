"""From the codes of public studies that no training saw to how sure a hit is.

Public studies cost no patient privacy: nothing else is read, and the model is made of what was released before.

Shapes: N studies, K bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from common.hashing.hamming import hamming_distances
from common.retrieval.relevance import Curve, Point, QueryKind, Relevance, Step
from common.retrieval.relevance_coverage import threshold
from common.retrieval.relevance_pairs import By, Labels, ScoredPairs, pairs_of
from common.retrieval.relevance_reliability import cross_told, rates_with_intervals, reliability_of
from common.retrieval.relevance_steps import fit_steps
from common.seeds import numpy_generator

LEAST_PATIENTS = 20
"""Of queries, for a curve."""
MOST_PATIENTS = 250
"""That are compared, each with each; of more, some are drawn by the run's seed."""
MOST_ERROR = 0.1
"""On pairs that a curve was not fitted to, all of them or the first hits: one that errs more is not shown."""
_DIGITS = 4

Bits = NDArray[np.uint8]
"""Codes of studies, bit by bit, `[N, K]`."""


def relevance_of(
    images_NK: Bits,
    reports_NK: Bits,
    labels: Labels,
    patients_N: NDArray[np.int64],
    *,
    widths: Iterable[int],
    model: str,
    seed: int,
) -> Relevance:
    """How sure the hits of a model are.

    Args:
        images_NK: Bits of the studies' pictures.
        reports_NK: Bits of their reports.
        labels: What makes one of them relevant to another.
        patients_N: Number of each study's patient.
        widths: Of codes that are searched by: each the first bits of the whole.
        model: Digest of the trained weights.
        seed: The run's: the same studies and seed give the same curves.

    Raises:
        ValueError: The shapes differ.
    """
    rows = _rows(patients_N, seed)
    labels, patients_N = labels.rows(rows), patients_N[rows]
    sides = {QueryKind.IMAGE: images_NK[rows], QueryKind.TEXT: reports_NK[rows]}
    curves = tuple(
        _curve(sides, labels, patients_N, query=query, gallery=gallery, bit_width=width, seed=seed)
        for width in sorted(set(widths))
        for query in sides
        for gallery in ("images", "reports")
    )
    return Relevance(
        model=model,
        by=labels.by,
        num_studies=len(rows),
        num_patients=len(np.unique(patients_N)),
        curves=curves,
    )


def _rows(patients_N: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """The studies of so many patients as can be compared."""
    numbers = np.unique(patients_N)
    chosen = numpy_generator(seed, "relevance", "patients").permutation(numbers)[:MOST_PATIENTS]
    return np.flatnonzero(np.isin(patients_N, chosen))


def _curve(
    sides: Mapping[QueryKind, Bits],
    labels: Labels,
    patients_N: NDArray[np.int64],
    *,
    query: QueryKind,
    gallery: str,
    bit_width: int,
    seed: int,
) -> Curve:
    kind = QueryKind.IMAGE if gallery == "images" else QueryKind.TEXT
    asked, found = (np.packbits(sides[side][:, :bit_width], axis=1) for side in (query, kind))
    pairs = pairs_of(-hamming_distances(asked, found), labels, patients_N, same_kind=query is kind)
    base_rate = pairs.base_rate if len(pairs) else 0.0
    return curve_of(pairs, labels.by, query=query, gallery=gallery, bit_width=bit_width, base_rate=base_rate, seed=seed)


def curve_of(
    pairs: ScoredPairs, by: By, *, query: QueryKind, gallery: str, bit_width: int, base_rate: float, seed: int
) -> Curve:
    """What some pairs tell.

    Args:
        pairs: Scored by minus the distance, or the rank, in whole bits.
        by: What makes a study of theirs relevant.
        query: What the queries are made of.
        gallery: What they are compared with.
        bit_width: Bits of the codes.
        base_rate: Share that is relevant of pairs drawn blindly.
        seed: The run's.
    """
    curve = Curve(
        query=query,
        gallery=gallery,
        bit_width=bit_width,
        num_patients=len(pairs.query_patients),
        num_pairs=len(pairs),
        base_rate=_rounded(base_rate),
    )
    generator = numpy_generator(seed, "relevance", query, gallery, bit_width)
    return Curve(**{**vars(curve), **_measured(pairs, by, generator)})


def _measured(pairs: ScoredPairs, by: By, generator: np.random.Generator) -> dict[str, object]:
    """Steps and reliability of some pairs, or why there are none."""
    if len(pairs.query_patients) < LEAST_PATIENTS:
        with_finding = " with a finding" if by is By.FINDINGS else ""
        return {"why": f"fewer than {LEAST_PATIENTS} public patients{with_finding} were kept from training"}
    if not pairs.relevant_M.any():
        return {"why": "no public study that was kept from training is relevant to another"}
    told, steps = cross_told(pairs, generator), fit_steps(pairs)
    if told is None or not len(steps):
        return {"why": "too few public pairs were kept from training to hold a probability against others"}
    step_M = steps.step_of(pairs.scores_M)
    rates = rates_with_intervals(pairs, step_M, len(steps), generator)
    num_S = np.bincount(step_M)
    nearest_first = range(len(steps) - 1, -1, -1)
    reliability = reliability_of(told, generator)
    least = threshold(pairs)
    measured: dict[str, object] = {
        "points": tuple(
            Point(
                told=_rounded(one.told),
                found=_rounded(one.found),
                low=_rounded(one.low),
                high=_rounded(one.high),
                num_pairs=one.num_pairs,
            )
            for one in reliability.points
        ),
        "error": _rounded(reliability.error),
        "error_of_hits": _rounded(reliability.error_of_hits),
        "coverage": _rounded(reliability.coverage),
    }
    if max(reliability.error, reliability.error_of_hits) > MOST_ERROR:
        return {**measured, "why": f"probabilities would be off by more than {MOST_ERROR:g} on average"}
    return {
        **measured,
        "steps": tuple(
            Step(
                nearest=-int(steps.most_S[i]),
                farthest=-int(steps.least_S[i]),
                probability=_rounded(rates[i][0]),
                low=_rounded(rates[i][1].low),
                high=_rounded(rates[i][1].high),
                num_pairs=int(num_S[i]),
            )
            for i in nearest_first
        ),
        "within": None if least is None else -int(least),
    }


def _rounded(value: float) -> float:
    """As many digits as mean something, so that the same studies give the same bytes on another processor."""
    return round(value, _DIGITS)
