"""What people and machines read of a run, written into its folder when it has ended."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.files import write_atomically
from server.report.render import Example, write_report
from server.report.summary import write_summary

ROUNDS_FILE = "rounds.jsonl"


def write_run(
    folder: Path, summary: dict[str, Any], rounds: Sequence[dict[str, Any]], shown: Sequence[Example] = ()
) -> None:
    """Write `summary.json`, `rounds.jsonl` and `report.html`, each whole or not at all.

    Args:
        folder: Run folder.
        summary: The keys of `summary.schema.json`.
        rounds: One JSON object a committed round.
        shown: Examples of searches; a simulation alone may show any.
    """
    lines = "".join(json.dumps(record) + "\n" for record in rounds)
    write_atomically(folder / ROUNDS_FILE, lines.encode())
    write_summary(folder, summary)
    write_report(folder, summary, rounds, examples=shown)
