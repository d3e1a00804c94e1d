"""The table that `--scenario fairness` ends with."""

from __future__ import annotations

from rich.console import Console

from simulations.cli import _tables
from tests.server.report.test_remedies import cell


def test_table_holds_every_remedy_and_ends_with_the_verdict() -> None:
    cells = [
        cell("none", recall=0.20, gap=0.06, left=1.0),
        cell("weight+score_level", recall=0.198, gap=0.02, left=0.33, kept=0.99),
        cell("sampling", recall=0.17, gap=0.02, left=0.33, kept=0.85),
    ]
    remedies = {"attribute": "race", "group": "Black", "repeats": 1, "cells": cells}
    (table,) = _tables({"remedies": remedies})
    console = Console(width=160, record=True, quiet=False)
    with console.capture() as shown:
        console.print(table)
    text = shown.get()
    for words in ("untreated", "weights by group + score level", "rates by group", "19.8%", "costs too much", "+2.0"):
        assert words in text
    assert "weights by group + score level halves it" in " ".join(text.split())
