"""What privacy itself does to groups: the same federation without noise and with it, by group, over splits or seeds.

`--scenario baselines` trains both on the same studies. The change of a group is the mean of its recall with noise less
that without it over the repeats. Its interval is that of Nadeau and Bengio (2003, "Inference for the Generalization
Error", Machine Learning 52: the corrected resampled t) over the repeats, so that one alone says nothing: repeats draw
their held-out patients from the same ones, and Student's interval, which takes them for independent, is too short.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.special import stdtrit

from common.retrieval.paired import CONFIDENCE
from server.report import words
from server.report.statistic import Statistic, Statistics

Summary = Mapping[str, Any]

WITHOUT = "federated"
WITH = {"federated_epsilon_8": "epsilon 8", "federated_epsilon_2": "epsilon 2"}
"""Baselines with noise, the least noise first, and how a sentence calls it."""


@dataclass(frozen=True)
class PrivacyRow:
    """One group of all hospitals together.

    Attributes:
        attribute: For example `sex`.
        group: The group.
        num_patients: Held-out patients, mean over the repeats.
        recalls: Mean recall at 10 by way to train.
        changes: What noise changes, by way to train with it; a loss is below zero.
    """

    attribute: str
    group: str
    num_patients: float | None
    recalls: Mapping[str, Statistic]
    changes: Mapping[str, Statistic]


def privacy_rows(summary: Summary) -> list[PrivacyRow]:
    """A row for each group that some repeat shows, the smallest of each attribute first; none without baselines."""
    told = summary.get("baseline_groups") or []
    private = Statistics(summary).is_private("baseline_groups")
    rows = []
    for row in told:
        recalls = row["recall_at_10"]
        changes = {
            name: _mean(
                [
                    after - before
                    for before, after in zip(recalls[WITHOUT], recalls[name], strict=True)
                    if before is not None and after is not None
                ],
                held_out_share=row["held_out_share"],
                private=private,
            )
            for name in WITH
            if WITHOUT in recalls and name in recalls
        }
        means = {name: Statistic(words.mean(values), private=private) for name, values in recalls.items()}
        patients = words.mean(row["num_patients"])
        rows.append(PrivacyRow(row["attribute"], row["group"], patients, means, changes))
    order = list(dict.fromkeys(row.attribute for row in rows))
    return sorted(rows, key=lambda row: (order.index(row.attribute), row.num_patients or 0))


def read_out(rows: Sequence[PrivacyRow]) -> str:
    """Which group loses most at the smallest epsilon, and whether it surely loses."""
    name = next((name for name in [*WITH][::-1] if any(name in row.changes for row in rows)), None)
    told = [row for row in rows if name is not None and row.changes[name].value is not None]
    if name is None or not told:
        return "What privacy costs a group, we cannot tell: no group is shown both with noise and without."
    least = min(told, key=lambda row: row.changes[name].value or 0.0)
    change, group = least.changes[name], words.group_by(least.attribute, least.group)
    loses = "loses most" if (change.value or 0.0) < 0 else "gains least, and none loses"
    points = f"{words.points(change.value)} points"
    if change.interval is None:
        return f"What privacy costs a group, we cannot tell from one repeat: at {WITH[name]} {group} {loses}, {points}."
    low, high = (words.points(end) for end in change.interval)
    sure = "" if change.interval[1] < 0 or change.interval[0] > 0 else ", which may be chance"
    return f"At {WITH[name]} {group} {loses}: {points} ({low} to {high}){sure}."


def _mean(values: Sequence[float], *, held_out_share: float, private: bool) -> Statistic:
    mean, num = words.mean(values), len(values)
    if mean is None or num < 2:
        return Statistic(mean, private=private)
    variance = sum((value - mean) ** 2 for value in values) / (num - 1)
    deviation = math.sqrt(variance * (1 / num + held_out_share / (1 - held_out_share)))
    reach = float(stdtrit(num - 1, (1 + CONFIDENCE) / 2)) * deviation
    return Statistic(mean, (mean - reach, mean + reach), private)
