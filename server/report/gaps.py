"""Between which groups the surest gap is, and how wide: of figures that were told with intervals.

The gap is that between the two groups of which it is surest that one is served worse; its interval holds for all pairs
together (Bonferroni).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from scipy.stats import norm

from common.retrieval.paired import CONFIDENCE

_FEWEST_COMPARED = 2


def fairness_of(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """By marginal: the surest gap between two groups that are shown, its interval, and the group served worse."""
    found: dict[str, Any] = {}
    for attribute in dict.fromkeys(row["attribute"] for row in rows):
        shown = [row for row in rows if row["attribute"] == attribute and not row["suppressed"]]
        if len(shown) < _FEWEST_COMPARED:
            continue
        wider = wider_for(math.comb(len(shown), 2))
        pairs = [pair for pair in itertools.permutations(shown, 2) if _rate(pair[0]) >= _rate(pair[1])]
        better, worse = max(pairs, key=lambda pair: gap_interval(*pair, wider=wider)[0])
        found[attribute] = {
            "worst_group": {"site": worse["site"], "group": worse["group"], "recall_at_10": _rate(worse)},
            "gap": _rate(better) - _rate(worse),
            "gap_interval": [min(max(end, 0.0), 1.0) for end in gap_interval(better, worse, wider=wider)],
        }
    return found


def wider_for(number: int) -> float:
    """How much longer the reach of an interval is that holds for so many comparisons together (Bonferroni)."""
    alone, together = (float(norm.ppf(1 - (1 - CONFIDENCE) / (2 * several))) for several in (1, number))
    return together / alone


def gap_interval(better: Mapping[str, Any], worse: Mapping[str, Any], *, wider: float) -> tuple[float, float]:
    """Of the difference of two rates, from the side of each one's interval that matters (Newcombe 1998, method 10)."""
    difference = _rate(better) - _rate(worse)
    down = math.hypot(_rate(better) - _ends(better)[0], _ends(worse)[1] - _rate(worse))
    up = math.hypot(_ends(better)[1] - _rate(better), _rate(worse) - _ends(worse)[0])
    return difference - wider * down, difference + wider * up


def _rate(row: Mapping[str, Any]) -> float:
    return float(row["metrics"]["recall_at_10"])


def _ends(row: Mapping[str, Any]) -> tuple[float, float]:
    low, high = row["intervals"]["recall_at_10"]
    return float(low), float(high)
