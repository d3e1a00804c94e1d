"""`summary.json`: its schema, its errors, and that strict JSON comes out whatever went in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from common.errors import CheckFailed
from server.report.summary import load_schema, validate, write_summary


def test_schema_is_a_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(load_schema())


def test_summary_of_a_run_fits_the_schema(summary: dict[str, Any]) -> None:
    validate(summary)
    jsonschema.validate(summary, load_schema())


def test_summary_without_optional_sections_fits_the_schema(summary: dict[str, Any]) -> None:
    for section in ("pooled", "baselines", "data", "model"):
        del summary[section]
    for site in summary["sites"].values():
        site |= {"epsilon": None, "delta": None, "metrics": None, "codes": None}
        for optional in ("intervals", "code_intervals", "start_metrics", "gallery", "private", "ledger_head"):
            del site[optional]
    validate(summary)


@pytest.mark.parametrize(
    ("section", "key", "value", "named"),
    [
        ("privacy", "unit_of_privacy", "study", "privacy.unit_of_privacy"),
        ("privacy", "delta", 0.0, "privacy.delta"),
        ("pooled", "recall_at_10", 1.5, "pooled.recall_at_10"),
        ("data", "num_studies", -1, "data.num_studies"),
        ("versions", "torch", 2, "versions.torch"),
        ("data", "patient_ids", ["a"], "data"),
    ],
)
def test_validate_names_the_field(summary: dict[str, Any], section: str, key: str, value: object, named: str) -> None:
    summary[section][key] = value
    with pytest.raises(CheckFailed, match=rf"summary\.json: \$\.{named}: "):
        validate(summary)


def test_validate_names_a_missing_key(summary: dict[str, Any]) -> None:
    del summary["sites"]["Harbour"]["epsilon"]
    with pytest.raises(CheckFailed, match=r"\$\.sites\.Harbour: 'epsilon' is a required property"):
        validate(summary)


@pytest.mark.parametrize("key", ["num_patients", "metrics", "intervals"])
def test_validate_refuses_a_suppressed_group_that_holds_its_numbers(summary: dict[str, Any], key: str) -> None:
    shown = next(group for group in summary["groups"] if not group["suppressed"])
    hidden = next(group for group in summary["groups"] if group["suppressed"])
    hidden[key] = shown[key]
    with pytest.raises(CheckFailed, match=r"\$\.groups\[\d+\]"):
        validate(summary)


def test_write_summary_round_trips(tmp_path: Path, summary: dict[str, Any]) -> None:
    path = write_summary(tmp_path / "run", summary)
    assert path == tmp_path / "run" / "summary.json"
    assert json.loads(path.read_text(encoding="utf-8")) == summary


def test_write_summary_turns_numbers_that_are_not_finite_into_null(tmp_path: Path, summary: dict[str, Any]) -> None:
    summary["pooled"]["recall_at_10"] = float("nan")
    summary["sites"]["Harbour"]["intervals"]["mrr"] = (0.1, float("inf"))
    text = write_summary(tmp_path, summary).read_text(encoding="utf-8")

    def refuse(name: str) -> None:
        raise AssertionError(name)

    read = json.loads(text, parse_constant=refuse)
    assert read["pooled"]["recall_at_10"] is None
    assert read["sites"]["Harbour"]["intervals"]["mrr"] == [0.1, None]
    validate(read)


def test_write_summary_that_fails_leaves_the_old_file(tmp_path: Path, summary: dict[str, Any]) -> None:
    path = write_summary(tmp_path, summary)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_summary(tmp_path, summary | {"model_digest": tmp_path})
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["summary.json"]
