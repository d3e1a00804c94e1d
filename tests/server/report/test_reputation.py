"""Reputations from rounds written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from server.report.reputation import reputation, reputation_rows, weight_map


def record(number: int, asked: str, weights: dict[str, float], **dropped: str) -> dict[str, Any]:
    admitted = [site for site in asked if site not in dropped]
    return {"round": number, "asked": list(asked), "admitted": admitted, "dropped": dropped, "weights": weights}


ROUNDS = [
    record(1, "abc", {"a": 0.5, "b": 0.5, "c": 0.0}),
    record(2, "abc", {"a": 0.9, "c": 0.1}, b="nan"),
    record(3, "abc", {}, b="nan", c="late"),
    record(4, "ab", {"a": float("nan"), "b": 0.3}),
]


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        ("a", (4, 4, 0, 0.0, (0.5 + 0.9) / 2, (1 / 3 + 1 / 2) / 2, 0.5)),
        ("b", (4, 2, 2, 0.5, (0.5 + 0.3) / 2, (1 / 3 + 1 / 2) / 2, 0.3)),
        ("c", (3, 2, 1, 1 / 3, 0.05, (1 / 3 + 1 / 2) / 2, 0.0)),
        ("d", (0, 0, 0, None, None, None, None)),
    ],
)
def test_reputation_counts_rounds_and_weighs_those_that_moved_the_model(site: str, expected: tuple[Any, ...]) -> None:
    rounds = ("rounds_asked", "rounds_admitted", "rounds_dropped", "dropped_share")
    names = (*rounds, "mean_weight", "equal_share", "lowest_weight")
    found = reputation(site, ROUNDS)
    assert tuple(found) == names
    for name, value in zip(names, expected, strict=True):
        assert found[name] == (value if value is None else pytest.approx(value)), name


def test_weight_map_has_a_reason_or_a_weight(summary: dict[str, Any]) -> None:
    summary["sites"] = dict.fromkeys("abc")
    found = weight_map(summary, ROUNDS)
    assert found is not None
    assert (found.sites, found.rounds) == (("a", "b", "c"), (1, 2, 3, 4))
    assert found.weights[0] == (0.5, 0.9, None, None)
    assert found.weights[1] == (0.5, None, None, 0.3)
    assert found.reasons[1] == (None, *["sent numbers that are not finite"] * 2, None)
    assert found.reasons[2] == (None, None, "answered after the deadline", None)


def test_there_is_no_map_without_weights(summary: dict[str, Any]) -> None:
    assert weight_map(summary, []) is None
    assert weight_map(summary, [{"round": 1, "metrics": {}}]) is None


def test_weights_of_exact_updates_are_marked(summary: dict[str, Any]) -> None:
    assert not any(row.marked for row in reputation_rows(summary))
    summary["not_private"].append("$.sites[*].reputation.mean_weight")
    assert all(row.marked for row in reputation_rows(summary))


def test_summary_without_reputations_has_no_rows(summary: dict[str, Any]) -> None:
    for site in summary["sites"].values():
        del site["reputation"]
    assert reputation_rows(summary) == []
