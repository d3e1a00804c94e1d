"""Between which groups the surest gap is, and how wide: of figures that were told with intervals.

The gap of a figure is that between the two groups of which it is surest that one is served worse; its interval holds
for all pairs together (Bonferroni). Equalised odds (Hardt et al. 2016, arXiv 1610.02413) are off by the greater of the
gaps of true and of false positive rates; that interval holds for both.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from scipy.special import ndtri

from common.retrieval.paired import CONFIDENCE

Row = Mapping[str, Any]

RECALL = "recall_at_10"
WORSE_WHERE_HIGHER = frozenset({"false_positive_rate", "calibration_error"})
"""Figures of which more is worse: false alarms, and scores that are too sure."""
OF_SCORES = ("true_positive_rate", "false_positive_rate", "auroc", "calibration_error")
ODDS = OF_SCORES[:2]
OF_RANKS = ("recall_at_1", "recall_at_5", "mrr")

_FEWEST_COMPARED = 2


def fairness_of(rows: Sequence[Row]) -> dict[str, Any]:
    """By marginal: the surest gap of each figure, its interval, and the group served worse; of recall at 10 first."""
    found: dict[str, Any] = {}
    for attribute in dict.fromkeys(row["attribute"] for row in rows):
        shown = [row for row in rows if row["attribute"] == attribute and not row["suppressed"]]
        if len(shown) < _FEWEST_COMPARED:
            continue
        found[attribute] = _gap(shown, RECALL)
        if _all_tell(shown, OF_SCORES):
            found[attribute]["scores"] = _gaps_of_scores(shown)
        if _all_tell(shown, OF_RANKS):
            found[attribute]["ranks"] = {name: _gap(shown, name) for name in OF_RANKS}
    return found


def wider_for(number: int) -> float:
    """How much longer the reach of an interval is that holds for so many comparisons together (Bonferroni)."""
    alone, together = (float(ndtri(1 - (1 - CONFIDENCE) / (2 * several))) for several in (1, number))
    return together / alone


def gap_interval(high: Row, low: Row, *, wider: float, figure: str = RECALL) -> tuple[float, float]:
    """Of a difference, from the side of each figure's interval that matters (Newcombe 1998, method 10)."""
    of_high, of_low = _value(high, figure), _value(low, figure)
    down = math.hypot(of_high - _ends(high, figure)[0], _ends(low, figure)[1] - of_low)
    up = math.hypot(_ends(high, figure)[1] - of_high, of_low - _ends(low, figure)[0])
    return of_high - of_low - wider * down, of_high - of_low + wider * up


def _all_tell(shown: Sequence[Row], figures: Sequence[str]) -> bool:
    """Whether every row tells all of some figures, with intervals."""
    return all(name in row["metrics"] and name in row["intervals"] for row in shown for name in figures)


def _gaps_of_scores(shown: Sequence[Row]) -> dict[str, Any]:
    gaps = {name: _gap(shown, name) for name in OF_SCORES}
    both = [_gap(shown, name, comparisons=len(ODDS)) for name in ODDS]
    return {
        **gaps,
        "equalised_odds": {
            "gap": max(gap["gap"] for gap in both),
            "gap_interval": [max(gap["gap_interval"][end] for gap in both) for end in (0, 1)],
        },
    }


def _gap(shown: Sequence[Row], figure: str, *, comparisons: int = 1) -> dict[str, Any]:
    """The surest gap of one figure.

    Args:
        shown: Rows of two groups or more.
        figure: Its name.
        comparisons: Figures that its interval holds for together.
    """
    wider = wider_for(math.comb(len(shown), 2) * comparisons)
    ordered = sorted(shown, key=lambda row: -_value(row, figure))
    pairs = itertools.combinations(ordered, 2)
    high, low = max(pairs, key=lambda pair: gap_interval(*pair, wider=wider, figure=figure)[0])
    worse = high if figure in WORSE_WHERE_HIGHER else low
    return {
        "worst_group": {"site": worse["site"], "group": worse["group"], figure: _value(worse, figure)},
        "gap": _value(high, figure) - _value(low, figure),
        "gap_interval": list(_cut(gap_interval(high, low, wider=wider, figure=figure))),
    }


def _value(row: Row, figure: str) -> float:
    return float(row["metrics"][figure])


def _ends(row: Row, figure: str) -> tuple[float, float]:
    low, high = row["intervals"][figure]
    return float(low), float(high)


def _cut(ends: Iterable[float]) -> tuple[float, ...]:
    return tuple(min(max(end, 0.0), 1.0) for end in ends)
