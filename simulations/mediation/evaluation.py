"""How near a proposer's plans come to the right ones.

Concepts: precision and recall over all queries together, a concept counting where it stands in the right list
(wanted, excluded, anatomy) with the right code; a broader or narrower one is wrong. Negation: of the concepts that
queries with a negation want or exclude, the share that stands in the right list of the two; one that was not found is
wrong, one that no table holds is left out. Acronyms: the share whose meaning is in the plan, or which is asked back
where it has to be. The rest, side, doubt, past and circumstances, are shares of what the right plans hold of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from client.mediator.interface import Proposer
from client.mediator.plan import Asked, Plan
from common.errors import PlanError
from simulations.mediation.queries import SPLITS, RightPlan


@dataclass(frozen=True, kw_only=True)
class Share:
    """So many of so many.

    Attributes:
        num_right: How many are.
        num_all: Of how many.
    """

    num_right: int
    num_all: int

    @property
    def value(self) -> float | None:
        """The share; None where there are none."""
        return self.num_right / self.num_all if self.num_all else None


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What a proposer made of queries.

    Attributes:
        num_queries: How many.
        precision: Share of proposed concepts that are right.
        recall: Share of right concepts that are proposed.
        negation: Concepts of negating queries in the right list.
        acronyms: Acronyms that were read right.
        details: Shares of sides, doubts, pasts and circumstances.
        whole: Queries whose concepts are all right and no others.
        refused: Queries of which no plan came.
        median_milliseconds: Time of one query.
    """

    num_queries: int
    precision: Share
    recall: Share
    negation: Share
    acronyms: Share
    details: dict[str, Share]
    whole: Share
    refused: int
    median_milliseconds: float

    @property
    def concept_f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * self.recall.num_right / max(1, self.precision.num_all + self.recall.num_all)

    def as_json(self) -> dict[str, Any]:
        """All figures."""
        return {
            "queries": self.num_queries,
            "concept_f1": self.concept_f1,
            "concept_precision": self.precision.value,
            "concept_recall": self.recall.value,
            "negation_accuracy": self.negation.value,
            "acronym_accuracy": self.acronyms.value,
            "whole": self.whole.value,
            "refused": self.refused,
            "median_milliseconds": self.median_milliseconds,
            **{name: share.value for name, share in self.details.items()},
        }


@dataclass(frozen=True, kw_only=True)
class _Beside:
    """A right plan and the proposed one; None where there was none."""

    right: RightPlan
    plan: Plan | None
    seconds: float

    @property
    def proposed(self) -> frozenset[tuple[str, str]]:
        """Concepts of the proposed plan, as those of a right one are written."""
        if self.plan is None:
            return frozenset()
        lists = {"wanted": self.plan.wanted, "excluded": self.plan.excluded, "anatomy": self.plan.anatomy}
        return frozenset((part, _code(one)) for part, asked in lists.items() for one in asked)


def evaluate(proposer: Proposer, queries: Sequence[RightPlan]) -> dict[str, Scored]:
    """The figures of each split, held ones apart."""
    beside = [_beside(proposer, right) for right in queries]
    return {split: _scored([one for one in beside if one.right.split == split]) for split in SPLITS}


def _beside(proposer: Proposer, right: RightPlan) -> _Beside:
    start = time.perf_counter()
    try:
        plan = proposer.propose(right.query)
    except PlanError:
        plan = None
    return _Beside(right=right, plan=plan, seconds=time.perf_counter() - start)


def _scored(beside: Sequence[_Beside]) -> Scored:
    hits = sum(len(one.right.concepts & one.proposed) for one in beside)
    return Scored(
        num_queries=len(beside),
        precision=Share(num_right=hits, num_all=sum(len(one.proposed) for one in beside)),
        recall=Share(num_right=hits, num_all=sum(len(one.right.concepts) for one in beside)),
        negation=_share(_negation(beside)),
        acronyms=_share(right for one in beside for right in _acronyms(one)),
        details={
            "laterality_accuracy": _share(_sides(beside)),
            "uncertain_accuracy": _share(_flags(beside, lambda right: right.uncertain, lambda asked: asked.uncertain)),
            "history_accuracy": _share(_flags(beside, lambda right: right.past, lambda asked: asked.history)),
            "circumstances_accuracy": _share(right for one in beside for right in _circumstances(one)),
        },
        whole=_share(one.proposed == one.right.concepts for one in beside),
        refused=sum(one.plan is None for one in beside),
        median_milliseconds=1000 * median([one.seconds for one in beside] or [0.0]),
    )


def _share(right: Iterable[bool]) -> Share:
    values = list(right)
    return Share(num_right=sum(values), num_all=len(values))


def _negation(beside: Iterable[_Beside]) -> Iterable[bool]:
    for one in beside:
        if any(part == "excluded" for part, _ in one.right.concepts):
            for part, code in one.right.concepts:
                other = {"wanted": "excluded", "excluded": "wanted"}.get(part)
                if other is not None and not code.startswith("none:"):
                    yield (part, code) in one.proposed and (other, code) not in one.proposed


def _acronyms(one: _Beside) -> Iterable[bool]:
    codes = {code for _, code in one.proposed}
    if one.plan is not None:
        codes |= {f"DCM:{modality.code}" for modality in one.plan.modality}
        asked_back = {frozenset(f"{c.scheme}:{c.code}" for c in back.choices) for back in one.plan.ask_back}
    for _, meaning in one.right.acronyms:
        yield meaning in codes if meaning is not None else one.plan is not None and one.right.ask_back <= asked_back


def _sides(beside: Iterable[_Beside]) -> Iterable[bool]:
    for one in beside:
        proposed = {_code(asked): asked.laterality for asked in _asked(one.plan)}
        yield from (proposed.get(code) == side for code, side in one.right.sides.items())


def _flags(
    beside: Iterable[_Beside], of_right: Callable[[RightPlan], frozenset[str]], of_asked: Callable[[Asked], bool]
) -> Iterable[bool]:
    for one in beside:
        proposed = {_code(asked) for asked in _asked(one.plan) if of_asked(asked)}
        yield from (code in proposed for code in of_right(one.right))
        yield from (False for _ in proposed - of_right(one.right))


def _circumstances(one: _Beside) -> Iterable[bool]:
    """Of what the right plan or the proposed one says of modality, sex, age and dates, whether both say the same."""
    proposed = {"modality": [], "sex": None, "age": None, "dates": None} if one.plan is None else _said(one.plan)
    for name, right in one.right.circumstances.items():
        if right or proposed[name]:
            yield proposed[name] == right


def _said(plan: Plan) -> dict[str, Any]:
    dates = plan.dates and [plan.dates.first, plan.dates.last]
    return {
        "modality": [one.code for one in plan.modality],
        "sex": plan.sex and plan.sex.value,
        "age": plan.age and [plan.age.least, plan.age.most],
        "dates": dates and [day and day.isoformat() for day in dates],
    }


def _asked(plan: Plan | None) -> tuple[Asked, ...]:
    return () if plan is None else (*plan.wanted, *plan.anatomy)


def _code(asked: Asked) -> str:
    return f"{asked.concept.scheme}:{asked.concept.code}"
