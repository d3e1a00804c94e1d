"""Whether a run's model may be published: the checks that `fairness` in the config asks for, each with three answers.

| key | what is compared | holds where |
| --- | --- | --- |
| max_gap | two groups of an attribute, of all hospitals together | no group is further below another |
| min_group_recall | a group, of all hospitals together | every group is found at least so often |
| no_site_worse | a hospital's own patients, final model less public start | none loses |

A figure has an interval, and the interval decides: the check holds where all of it is within the bound, fails where all
of it is beyond, and else it cannot be told. The intervals of one check hold for all of its comparisons together
(Bonferroni): where it holds, or fails, it does so wrongly in one run of twenty at most. It is told by the comparison
that decides: the one that is most surely beyond the bound, or the one that comes nearest to it.

A group that is not shown is in no comparison: nothing is known of it. An attribute of which fewer than two groups are
shown (for a gap) or none, and a hospital of which nothing was told, cannot be told. The model is withheld where a check
fails, and where one cannot be told unless `fairness.accept_cannot_tell`. Then the run stands for its public start,
which was public before.

It reads what is told anyway, from released figures alone: post-processing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from common.config.schema import RunConfig
from common.errors import CheckFailed
from common.fairness.marginals import marginals_of
from common.retrieval.paired import Published
from server.report.fairness.gaps import gap_interval, wider_for
from server.report.fairness.groups import of_all_sites
from server.report.fairness.release_words import reason, stands_against

Summary = Mapping[str, Any]


class Answer(StrEnum):
    """What a check comes to."""

    HOLDS = "holds"
    FAILS = "fails"
    CANNOT_TELL = "cannot_tell"


class Decision(StrEnum):
    """What the checks come to."""

    PASSED = "passed"
    WITHHELD = "withheld"


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One comparison of a check.

    Attributes:
        site: The hospital, or all of them.
        group: The group; None for a whole hospital.
        against: The group that it is compared with; None where there is none.
        value: The figure; None where nothing was told.
        low: Of its interval.
        high: Of its interval.
    """

    site: str | None
    group: str | None = None
    against: str | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What a figure is held against.

    Attributes:
        name: Key below `fairness`.
        bound: The figure.
        is_most: Whether figures may be at most so large; else they must be at least so.
    """

    name: str
    bound: float
    is_most: bool

    def check(self, compared: Sequence[Compared], *, attribute: str | None = None) -> dict[str, Any]:
        """An entry of the summary's `release.checks`."""
        decides, answer = self._decided(compared)
        told = {"name": self.name, "attribute": attribute, "bound": self.bound, **asdict(decides)}
        return {**told, "num_compared": len(compared), "answer": answer.value}

    def _decided(self, compared: Sequence[Compared]) -> tuple[Compared, Answer]:
        told = [one for one in compared if one.value is not None]
        beyond = max(told, key=self._surely, default=None)
        if beyond is not None and self._surely(beyond) > 0:
            return beyond, Answer.FAILS
        if len(told) < len(compared):
            return next(one for one in compared if one.value is None), Answer.CANNOT_TELL
        nearest = max(told, key=self._perhaps, default=None)
        if nearest is None:
            return Compared(site=None), Answer.CANNOT_TELL
        return nearest, Answer.CANNOT_TELL if self._perhaps(nearest) > 0 else Answer.HOLDS

    def _surely(self, one: Compared) -> float:
        """By how much all of the interval is beyond the bound; not above 0 where some is within."""
        return _number(one.low) - self.bound if self.is_most else self.bound - _number(one.high)

    def _perhaps(self, one: Compared) -> float:
        """By how much the end that is furthest out is beyond it."""
        return _number(one.high) - self.bound if self.is_most else self.bound - _number(one.low)


def release(config: RunConfig, summary: Summary) -> dict[str, Any]:
    """The summary's `release`, None where nothing is asked for, and its `published`, which a withheld model is not.

    Args:
        config: The run's configuration.
        summary: Its `groups`, `sites` and `published`.
    """
    checks = [*_group_checks(config, summary), *_site_checks(config, summary)]
    if not checks:
        return {"release": None}
    accepted = config.fairness.accept_cannot_tell
    against = stands_against(checks, accept_cannot_tell=accepted)
    decided = {
        "decision": Decision.WITHHELD.value if against else Decision.PASSED.value,
        "reason": reason(against) if against else None,
        "accept_cannot_tell": accepted,
        "checks": checks,
    }
    return {"release": decided} | ({"published": Published.START.value} if against else {})


def check_released(summary: Summary) -> None:
    """Return where nothing keeps a run's model from being published.

    Raises:
        CheckFailed: The release gate withholds it.
    """
    if (line := withheld_because(summary)) is not None:
        raise CheckFailed(line)


def withheld_because(summary: Summary) -> str | None:
    """Why the model is withheld, in one line; None where it is not."""
    found = summary.get("release")
    return found["reason"] if found else None


def _group_checks(config: RunConfig, summary: Summary) -> list[dict[str, Any]]:
    asked = config.fairness
    kinds: list[tuple[Bound, Callable[[Sequence[Mapping[str, Any]]], list[Compared]]]] = []
    if asked.max_gap is not None:
        kinds.append((Bound(name="max_gap", bound=asked.max_gap, is_most=True), _gaps))
    if asked.min_group_recall is not None:
        kinds.append((Bound(name="min_group_recall", bound=asked.min_group_recall, is_most=False), _recalls))
    shown = [row for row in of_all_sites(summary["groups"]) if not row["suppressed"]]
    return [
        bound.check(compared([row for row in shown if row["attribute"] == name]), attribute=name)
        for bound, compared in kinds
        for name in _attributes(config)
    ]


def _attributes(config: RunConfig) -> list[str]:
    """Whose groups are told: exact figures are not told of intersections."""
    if config.fairness.epsilon is None:
        return list(config.fairness.attributes)
    return [marginal.name for marginal in marginals_of(config.fairness)]


def _gaps(rows: Sequence[Mapping[str, Any]]) -> list[Compared]:
    """Every two groups, either way round: which of them is served worse is not known."""
    wider = wider_for(max(math.comb(len(rows), 2), 1))
    compared = []
    for better, worse in itertools.permutations(rows, 2):
        low, high = gap_interval(better, worse, wider=wider)
        value = better["metrics"]["recall_at_10"] - worse["metrics"]["recall_at_10"]
        who = {"site": worse["site"], "group": worse["group"], "against": better["group"]}
        compared.append(Compared(**who, value=value, low=low, high=high))
    return compared


def _recalls(rows: Sequence[Mapping[str, Any]]) -> list[Compared]:
    wider = wider_for(max(len(rows), 1))
    compared = []
    for row in rows:
        value, (low, high) = row["metrics"]["recall_at_10"], row["intervals"]["recall_at_10"]
        low, high = max(value - wider * (value - low), 0.0), min(value + wider * (high - value), 1.0)
        compared.append(Compared(site=row["site"], group=row["group"], value=value, low=low, high=high))
    return compared


def _site_checks(config: RunConfig, summary: Summary) -> list[dict[str, Any]]:
    if not config.fairness.no_site_worse:
        return []
    wider = wider_for(max(len(summary["sites"]), 1))
    compared = []
    for name, site in summary["sites"].items():
        if (change := site["difference"]) is None:
            compared.append(Compared(site=name))
            continue
        value = change["recall_at_10"]
        low, high = value - wider * (value - change["low"]), value + wider * (change["high"] - value)
        compared.append(Compared(site=name, value=value, low=max(low, -1.0), high=min(high, 1.0)))
    return [Bound(name="no_site_worse", bound=0.0, is_most=False).check(compared)]


def _number(value: float | None) -> float:
    return math.nan if value is None else value
