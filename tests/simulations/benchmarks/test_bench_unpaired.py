"""`wardround bench unpaired`: the rows, on a cohort of a few patients."""

from __future__ import annotations

from simulations.benchmarks.report import as_json
from simulations.benchmarks.unpaired import bench_unpaired


def test_rows_are_of_the_same_held_out_studies_and_say_what_is_kept(tiny_overrides: list[str]) -> None:
    rows = as_json("unpaired", bench_unpaired([*tiny_overrides, "privacy.epsilon=null"]))["rows"]
    assert [row["name"] for row in rows] == ["start", "paired", "pairs alone", "unpaired"]
    bound = rows[1]["recall_at_10"]
    for row in rows:
        assert row["kept"] == row["recall_at_10"] / bound
        assert 0 <= row["codes_recall_at_10"] <= 1
    assert len({row["seconds"] for row in rows}) == 4
    trained = [(row["recall_at_10"], row["codes_recall_at_10"]) for row in rows]
    assert trained[3] != trained[2] != trained[1]
