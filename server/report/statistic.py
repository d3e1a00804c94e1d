"""A number of the summary as the report shows it: its value, its interval, and whether noise protects it.

The report reads every measured number through `Statistics.at`, by its path, so that the mark `not private`
comes with the number and cannot be forgotten beside it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

Steps = tuple[str, ...]

_STEP = re.compile(r"\.?([^.\[\]]+)|\['((?:[^'\\]|\\.)*)'\]|\[(\d+|\*)\]")
_INTERVALS = {"metrics": "intervals", "codes": "code_intervals"}
_MEASURED_AT_A_SITE = {
    "metrics",
    "codes",
    "start_metrics",
    "difference",
    "alone",
    "gallery",
    "chance_recall_at_10",
    "num_bad_rows",
}


@dataclass(frozen=True)
class Statistic:
    """One number.

    Attributes:
        value: None where it was not measured or is not finite.
        interval: Low and high end, where it has one.
        private: False when it was released without noise.
    """

    value: float | None
    interval: tuple[float, float] | None = None
    private: bool = True

    @property
    def marked(self) -> bool:
        """Whether the reader must be told that this number is not private."""
        return self.value is not None and not self.private

    def minus(self, other: Statistic) -> Statistic:
        """The difference; private only if both are, absent if one is."""
        private = self.private and other.private
        if self.value is None or other.value is None:
            return Statistic(None, private=private)
        return Statistic(self.value - other.value, private=private)


def parse_path(text: str) -> Steps:
    """Steps of a JSON path (RFC 9535: names, quoted names, positions, `*`), with or without the leading `$`.

    A text that is no path gives the empty path, which covers all: an unreadable mark marks every figure.
    """
    rest = text.removeprefix("$")
    steps: list[str] = []
    while rest:
        found = _STEP.match(rest)
        if found is None:
            return ()
        name, quoted, position = found.groups()
        steps.append(re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else name or position)
        rest = rest[found.end() :]
    return tuple(steps)


class Statistics:
    """The numbers of one summary.

    Args:
        summary: The keys of `summary.schema.json`.
    """

    def __init__(self, summary: Mapping[str, Any]) -> None:
        self._summary = summary
        self._marks = [parse_path(text) for text in summary["not_private"]]

    def at(self, *path: str | int) -> Statistic:
        """The number at a path, with the interval beside its section; absent parts give no value."""
        steps = tuple(map(str, path))
        *parent, name = steps
        beside = (
            [*parent[:-1], _INTERVALS[parent[-1]]] if parent and parent[-1] in _INTERVALS else [*parent, "intervals"]
        )
        return Statistic(_number(self._find(steps)), _interval(self._find((*beside, name))), self.is_private(*steps))

    def estimate(self, *path: str | int) -> Statistic:
        """The figure at a path that holds it beside its own ends: `recall_at_10`, `low` and `high`."""
        ends = _interval([self._find((*map(str, path), end)) for end in ("low", "high")])
        return replace(self.at(*path, "recall_at_10"), interval=ends)

    def is_private(self, *path: str) -> bool:
        """Whether nothing at or below the path was released without noise."""
        if (
            path[0] == "sites"
            and len(path) > 2
            and path[2] in _MEASURED_AT_A_SITE
            and self._find((*path[:2], "private")) is False
        ):
            return False
        return not any(_covers(mark, path) for mark in self._marks)

    def _find(self, steps: Steps) -> Any:  # noqa: ANN401 - any JSON value
        value: Any = self._summary
        for step in steps:
            if isinstance(value, Mapping):
                value = value.get(step)
            elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
                value = value[int(step)]
            else:
                return None
        return value


def _covers(mark: Steps, path: Steps) -> bool:
    """Whether a mark names the path, something above it or something below it."""
    return all(step in {"*", name} for step, name in zip(mark, path, strict=False))


def _number(value: Any) -> float | None:  # noqa: ANN401
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and math.isfinite(value) else None


def _interval(value: Any) -> tuple[float, float] | None:  # noqa: ANN401
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    low, high = map(_number, value)
    return None if low is None or high is None else (low, high)
