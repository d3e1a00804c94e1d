"""Numbers read by their path, with their intervals and their marks."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.report.statistic import Statistic, Statistics, parse_path


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("$.pooled.recall_at_10", ("pooled", "recall_at_10")),
        ("pooled", ("pooled",)),
        ("$.sites[*].metrics", ("sites", "*", "metrics")),
        ("sites.*.metrics", ("sites", "*", "metrics")),
        ("$.sites['St. Brigid'].codes", ("sites", "St. Brigid", "codes")),
        (r"$.sites['King\'s [A]'].codes", ("sites", "King's [A]", "codes")),
        ("$.groups[3].metrics", ("groups", "3", "metrics")),
        ("$", ()),
        ("$.sites['open", ()),
        ("]", ()),
    ],
)
def test_parse_path_reads_names_quotes_and_positions(text: str, steps: tuple[str, ...]) -> None:
    assert parse_path(text) == steps


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\\'"), min_size=1), min_size=1))
def test_parse_path_reads_any_quoted_name(names: list[str]) -> None:
    assert parse_path("$" + "".join(f"['{name}']" for name in names)) == tuple(names)


def test_at_reads_value_and_interval_of_metrics_and_codes(summary: dict[str, Any]) -> None:
    statistics = Statistics(summary)
    site = summary["sites"]["Harbour"]
    embedding = statistics.at("sites", "Harbour", "metrics", "mrr")
    code = statistics.at("sites", "Harbour", "codes", "mrr")
    assert (embedding.value, embedding.interval) == (site["metrics"]["mrr"], tuple(site["intervals"]["mrr"]))
    assert (code.value, code.interval) == (site["codes"]["mrr"], tuple(site["code_intervals"]["mrr"]))
    pooled = statistics.at("pooled", "codes", "mrr")
    assert pooled.interval == tuple(summary["pooled"]["code_intervals"]["mrr"])
    assert statistics.at("pooled", "mrr").interval == tuple(summary["pooled"]["intervals"]["mrr"])


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), "0.5", True])
def test_at_gives_no_value_for_what_is_not_a_finite_number(summary: dict[str, Any], value: object) -> None:
    summary["pooled"]["mrr"] = value
    assert Statistics(summary).at("pooled", "mrr").value is None
    assert Statistics(summary).at("no", "such", "place").value is None


@pytest.mark.parametrize(
    ("mark", "path", "private"),
    [
        ("$.sites[*].metrics", ("sites", "Harbour", "metrics", "mrr"), False),
        ("$.sites.Harbour.metrics", ("sites", "Harbour", "metrics", "mrr"), False),
        ("$.sites.Harbour.metrics", ("sites", "Lakeside", "metrics", "mrr"), True),
        ("$.sites.Harbour.metrics.mrr", ("sites", "Harbour", "metrics", "map"), True),
        ("$.groups[0]", ("groups", "0", "metrics", "mrr"), False),
        ("$.groups[0]", ("groups", "1", "metrics", "mrr"), True),
        ("$.baselines.federated", ("baselines",), False),  # a section that holds such a number
        ("this is [no path", ("pooled", "mrr"), False),  # cannot be read: marks everything
    ],
)
def test_marks_cover_what_they_name(
    summary: dict[str, Any], mark: str, path: tuple[str, ...], *, private: bool
) -> None:
    summary["not_private"] = [mark]
    for site in summary["sites"].values():
        site["private"] = True
    assert Statistics(summary).is_private(*path) is private


def test_a_site_that_says_it_is_not_private_is_marked_without_a_path(summary: dict[str, Any]) -> None:
    summary["not_private"] = []
    summary["sites"]["Lakeside"]["private"] = True
    statistics = Statistics(summary)
    assert statistics.at("sites", "Harbour", "start_metrics", "recall_at_10").marked
    assert not statistics.at("sites", "Harbour", "epsilon").marked
    assert not statistics.at("sites", "Lakeside", "metrics", "recall_at_10").marked


def test_difference_is_private_only_if_both_numbers_are() -> None:
    noised, plain = Statistic(0.5), Statistic(0.25, private=False)
    assert noised.minus(plain) == Statistic(0.25, private=False)
    assert noised.minus(noised) == Statistic(0.0)
    assert noised.minus(Statistic(None)).value is None
