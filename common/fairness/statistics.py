"""Metrics of each group as sums and counts that add up over sites.

`GroupStatistics` and `SiteStatistics` are commutative monoids under `merge`: the order of sites does not
matter, nor how they are bracketed (sums up to rounding), and the empty statistics change nothing. What is
merged must be disjoint in patients: a patient at two sites counts twice.

A site hides its small groups *before* its statistics leave (`SiteStatistics.suppress`). A total over sites is
then a sum of shown numbers; suppressing after the merge would let a reader subtract the other sites.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import AdmissionError
from common.fairness.groups import ATTRIBUTES, LEAST_PATIENTS, suppressed_groups

EVERYONE = "everyone"
"""The attribute with one group, of the same name, that holds every query."""

_MOST_QUERIES = 2**53
"""Larger integers are not exact as floats."""


@dataclass(frozen=True, slots=True)
class GroupStatistics:
    """One group's queries.

    Attributes:
        num_queries: Queries (held-out studies) of the group.
        num_patients: Patients behind them.
        sums: For each metric the sum of its values, in [0, 1] each, over the queries.
    """

    num_queries: int = 0
    num_patients: int = 0
    sums: Mapping[str, float] = field(default_factory=dict)

    def merge(self, other: GroupStatistics) -> GroupStatistics:
        """The statistics of both groups together.

        Raises:
            ValueError: Neither is empty and their metrics differ.
        """
        if self.num_queries and other.num_queries and self.sums.keys() != other.sums.keys():
            raise ValueError(f"cannot merge metrics {sorted(self.sums)} with {sorted(other.sums)}")
        return GroupStatistics(
            num_queries=self.num_queries + other.num_queries,
            num_patients=self.num_patients + other.num_patients,
            sums={name: self.sums.get(name, 0.0) + other.sums.get(name, 0.0) for name in {**self.sums, **other.sums}},
        )

    def mean(self, metric: str) -> float:
        """The metric's mean over the group's queries.

        Raises:
            ValueError: The group is empty or has no such metric.
        """
        if not self.num_queries or metric not in self.sums:
            raise ValueError(f"no {metric} over {self.num_queries} queries; known: {', '.join(sorted(self.sums))}")
        return self.sums[metric] / self.num_queries

    def as_json(self) -> dict[str, Any]:
        """A plain JSON object."""
        return {
            "num_queries": self.num_queries,
            "num_patients": self.num_patients,
            "sums": dict(sorted(self.sums.items())),
        }

    @classmethod
    def from_json(cls, value: Any) -> GroupStatistics:  # noqa: ANN401 - a site's JSON, checked here
        """The inverse of `as_json`, for what another side sent.

        Raises:
            AdmissionError: A field is missing, unknown or impossible.
        """
        fields = _object(value, "group", keys={"num_queries", "num_patients", "sums"})
        num_queries, num_patients = fields["num_queries"], fields["num_patients"]
        sums = _object(fields["sums"], "sums")
        if type(num_queries) is not int or type(num_patients) is not int:
            raise AdmissionError("fairness statistics: num_queries and num_patients must be integers")
        if not 0 < num_patients <= num_queries <= _MOST_QUERIES:
            raise AdmissionError("fairness statistics: num_patients must be from 1 to num_queries")
        for total in sums.values():
            if type(total) not in (int, float) or not 0 <= total <= num_queries:
                raise AdmissionError("fairness statistics: each sum must lie between 0 and num_queries")
        return cls(num_queries, num_patients, {name: float(total) for name, total in sums.items()})


@dataclass(frozen=True, slots=True)
class SiteStatistics:
    """The groups of one site, or of several merged.

    Attributes:
        groups: Attribute to group to statistics; by `EVERYONE` too.
        suppressed: Attributes of which a site hid at least one group. Which groups and how many is not told,
            so a group that a site does not show is either hidden or empty. After a merge a group's numbers
            are of the sites that showed it.
    """

    groups: Mapping[str, Mapping[str, GroupStatistics]] = field(default_factory=dict)
    suppressed: frozenset[str] = frozenset()

    def merge(self, other: SiteStatistics) -> SiteStatistics:
        """The statistics of both sites together.

        Raises:
            ValueError: A group's metrics differ between the two.
        """
        groups: dict[str, dict[str, GroupStatistics]] = {}
        for attribute in {**self.groups, **other.groups}:
            ours, theirs = self.groups.get(attribute, {}), other.groups.get(attribute, {})
            groups[attribute] = {
                name: ours.get(name, GroupStatistics()).merge(theirs.get(name, GroupStatistics()))
                for name in {**ours, **theirs}
            }
        return SiteStatistics(groups, self.suppressed | other.suppressed)

    def suppress(self, *, least_patients: int = LEAST_PATIENTS) -> SiteStatistics:
        """The statistics that may be shown: without the groups that are small or make a small one derivable.

        See `common.fairness.groups.suppressed_groups` for the guarantee; it holds for a site's whole
        statistics, not for a merge of parts of it.
        """
        everyone = self.groups.get(EVERYONE, {}).get(EVERYONE, GroupStatistics())
        groups: dict[str, dict[str, GroupStatistics]] = {}
        suppressed = set(self.suppressed)
        for attribute, by_name in self.groups.items():
            hidden = suppressed_groups(
                {name: group.num_patients for name, group in by_name.items()},
                total=everyone.num_patients,
                num_ungrouped=everyone.num_queries - sum(group.num_queries for group in by_name.values()),
                least_patients=least_patients,
            )
            groups[attribute] = {name: group for name, group in by_name.items() if name not in hidden}
            if hidden:
                suppressed.add(attribute)
        return SiteStatistics(groups, frozenset(suppressed))

    def as_json(self) -> dict[str, Any]:
        """A plain JSON object."""
        return {
            "groups": {
                attribute: {name: group.as_json() for name, group in sorted(by_name.items())}
                for attribute, by_name in sorted(self.groups.items())
            },
            "suppressed": sorted(self.suppressed),
        }

    @classmethod
    def from_json(cls, value: Any) -> SiteStatistics:  # noqa: ANN401 - a site's JSON, checked here
        """The inverse of `as_json`, for what another side sent.

        Raises:
            AdmissionError: A field is missing, unknown or impossible.
        """
        fields = _object(value, "site", keys={"groups", "suppressed"})
        groups, suppressed = _object(fields["groups"], "groups"), fields["suppressed"]
        known = [EVERYONE, *ATTRIBUTES]
        if type(suppressed) is not list or not all(attribute in known for attribute in [*groups, *suppressed]):
            raise AdmissionError(f"fairness statistics: attributes must be among {', '.join(known)}")
        return cls(
            groups={
                attribute: {
                    name: GroupStatistics.from_json(group) for name, group in _object(by_name, attribute).items()
                }
                for attribute, by_name in groups.items()
            },
            suppressed=frozenset(suppressed),
        )


def site_statistics(
    values: Mapping[str, NDArray[np.float64]], *, patients: Sequence[str], groups: Sequence[Mapping[str, str]]
) -> SiteStatistics:
    """Sums and counts of each group over a site's queries, nothing suppressed yet.

    Args:
        values: For each metric one value in [0, 1] a query, `[Q]`, as `common.retrieval.metrics` gives them.
        patients: Patient of each query.
        groups: Groups of each query, as `common.fairness.groups.group_of` gives them.

    Raises:
        ValueError: The lengths differ, or a value is outside [0, 1] or NaN.
    """
    for metric, value_Q in values.items():
        if len(value_Q) != len(patients) or not np.all((value_Q >= 0) & (value_Q <= 1)):
            raise ValueError(f"{metric}: needs one value in [0, 1] for each of {len(patients)} queries")
    members: defaultdict[str, defaultdict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for query, (_, by_attribute) in enumerate(zip(patients, groups, strict=True)):
        for attribute, name in {EVERYONE: EVERYONE, **by_attribute}.items():
            members[attribute][name].append(query)
    return SiteStatistics(
        {
            attribute: {
                name: GroupStatistics(
                    num_queries=len(queries),
                    num_patients=len({patients[query] for query in queries}),
                    sums={metric: math.fsum(value_Q[queries]) for metric, value_Q in values.items()},
                )
                for name, queries in by_name.items()
            }
            for attribute, by_name in members.items()
        }
    )


def _object(value: Any, what: str, *, keys: set[str] | None = None) -> dict[str, Any]:  # noqa: ANN401 - JSON
    if type(value) is not dict or (keys is not None and value.keys() != keys):
        expected = f" with {', '.join(sorted(keys))}" if keys else ""
        raise AdmissionError(f"fairness statistics: {what} must be an object{expected}")
    return value
