"""Rows of the tables."""

from __future__ import annotations

from typing import Any

import pytest

from server.report.tables import baseline_rows, group_tables, retrieval_rows, site_rows


def test_gain_of_a_site_is_its_recall_over_the_start(summary: dict[str, Any]) -> None:
    gains = {row.name: row.gain.value for row in site_rows(summary)}
    assert gains == pytest.approx(
        {"Harbour": 0.14, "Northfield": 0.23, "St. Brigid": -0.01, "Lakeside": 0.17, "University": 0.28}
    )


def test_a_site_that_was_not_measured_has_no_gain(summary: dict[str, Any]) -> None:
    summary["sites"]["Harbour"] |= {"metrics": None, "intervals": None}
    row = site_rows(summary)[0]
    assert (row.recall.value, row.gain.value, row.recall.interval) == (None, None, None)


@pytest.mark.parametrize("prefix", ["", "text_to_image_"])
def test_retrieval_rows_pair_embedding_and_code(summary: dict[str, Any], prefix: str) -> None:
    rows = retrieval_rows(summary, prefix=prefix)
    assert [(row.scope, row.kind) for row in rows[:4]] == [
        ("All hospitals", "embedding"),
        ("All hospitals", "code"),
        ("Harbour", "embedding"),
        ("Harbour", "code"),
    ]
    assert rows[0].cells[2].value == summary["pooled"][f"{prefix}recall_at_10"]
    assert rows[1].cells[2].value == summary["pooled"]["codes"][f"{prefix}recall_at_10"]
    assert rows[3].cells[3].value == summary["sites"]["Harbour"]["codes"][f"{prefix}mrr"]
    assert len(rows) == 12


def test_retrieval_rows_leave_out_what_was_not_measured(summary: dict[str, Any]) -> None:
    summary["pooled"] = None
    for site in summary["sites"].values():
        site |= {"metrics": None, "codes": None}
    assert retrieval_rows(summary, prefix="") == []


def test_group_cells_stand_under_their_group(summary: dict[str, Any]) -> None:
    sex, age = group_tables(summary)
    assert (sex.attribute, sex.groups) == ("sex", ("F", "M"))
    assert age.groups == ("18-39", "40-59", "60-79")
    rows = dict(sex.rows)
    assert [cell.recall.value for cell in rows["Harbour"] if cell] == pytest.approx([0.48, 0.55])
    assert age.worst == {"site": "St. Brigid", "group": "60-79", "recall_at_10": 0.38}
    assert age.gap.value == 0.32


def test_suppressed_cells_show_nothing_even_if_the_summary_holds_it(summary: dict[str, Any]) -> None:
    for group in summary["groups"]:
        if group["suppressed"]:
            group |= {"num_patients": 3, "metrics": {"recall_at_10": 0.01}, "intervals": {"recall_at_10": [0, 1]}}
    _, age = group_tables(summary)
    cell = dict(age.rows)["Harbour"][0]
    assert cell is not None
    assert cell.suppressed
    assert (cell.recall.value, cell.recall.interval, cell.num_patients, cell.heat) == (None, None, None, None)
    # A hidden value must not shine through the colour of the others either.
    assert max(other.heat or 0 for _, cells in age.rows for other in cells if other) == 100
    assert dict(age.rows)["St. Brigid"][2].heat == 100  # type: ignore[union-attr]


def test_heat_is_for_the_worst_and_small_gaps_stay_pale(summary: dict[str, Any]) -> None:
    sex, _ = group_tables(summary)
    heats = {
        (site, group): cell.heat for site, row in sex.rows for group, cell in zip(sex.groups, row, strict=True) if cell
    }
    assert heats["University", "M"] == 0
    assert heats["St. Brigid", "F"] == 100
    for group in summary["groups"]:
        if group["metrics"]:
            group["metrics"]["recall_at_10"] = 0.5 + 0.02 * (group["group"] == "F")
    sex, _ = group_tables(summary)
    assert {cell.heat for _, row in sex.rows for cell in row if cell} == {0, 20}


def test_a_site_without_a_group_has_an_empty_cell(summary: dict[str, Any]) -> None:
    summary["groups"] = [g for g in summary["groups"] if (g["site"], g["group"]) != ("Harbour", "F")]
    sex, _ = group_tables(summary)
    assert dict(sex.rows)["Harbour"][sex.groups.index("F")] is None


def test_baselines_stand_in_their_order_and_skip_what_is_no_number(summary: dict[str, Any]) -> None:
    baselines = summary["baselines"]
    summary["baselines"] = {"own": {"recall_at_10": [0.5, None, 0.7]}} | dict(reversed(baselines.items()))
    rows = baseline_rows(summary)
    assert [row.name for row in rows][:2] == ["Public data only", "Best hospital alone"]
    assert rows[-1].name == "own"
    assert rows[-1].recalls == (0.5, 0.7)
    assert rows[-1].mean == pytest.approx(0.6)
    assert rows[-1].codes_mean is None
    summary["baselines"] = None
    assert baseline_rows(summary) == []
