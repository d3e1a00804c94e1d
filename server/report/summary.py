"""`summary.json`: what a run released, for machines; its form is `summary.schema.json` (JSON Schema)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from common.errors import CheckFailed
from common.files import write_atomically

SUMMARY_FILE = "summary.json"
REPORT_FILE = "report.html"
"""The page that is made of it."""


def load_schema() -> dict[str, Any]:
    """The JSON Schema of `summary.json`."""
    schema: dict[str, Any] = json.loads(Path(__file__).with_name("summary.schema.json").read_bytes())
    return schema


def validate(summary: Mapping[str, Any]) -> None:
    """Check a summary against the schema.

    Args:
        summary: As read back from `summary.json`, or as handed to `write_summary`.

    Raises:
        CheckFailed: A key is missing, unknown or holds a value of the wrong form; the first one is named.
    """
    problem = best_match(Draft202012Validator(load_schema()).iter_errors(finite(summary)))
    if problem is not None:
        raise CheckFailed(
            f"{SUMMARY_FILE}: {problem.json_path}: {problem.message}; "
            "check it with the version of wardround that wrote the run"
        )


def finite(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """The value as strict JSON holds it: dicts and lists, and null for NaN and infinity."""
    if isinstance(value, Mapping):
        return {str(name): finite(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_summary(run_folder: Path, summary: Mapping[str, Any]) -> Path:
    """Write `summary.json`, whole or not at all; a number that is not finite becomes null.

    The form is not checked here, so that hours of training are never lost to a slip in their summary: the
    tests and the audit call `validate`.

    Args:
        run_folder: The run's folder; made when absent.
        summary: The keys of `summary.schema.json`.

    Returns:
        The file.

    Raises:
        OSError: The folder cannot be written.
        TypeError: A value is not JSON (a tensor, a path).
    """
    path = run_folder / SUMMARY_FILE
    text = json.dumps(finite(summary), indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(path, text.encode() + b"\n")
    return path
