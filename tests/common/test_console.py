"""Text that nobody vouches for does nothing on a terminal."""

from __future__ import annotations

import ast
import io
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

import wardround
from common.console import ShownFormatter, Terminal, shown

ROOT = Path(wardround.__file__).parent
HOSTILE = "[/x] [bold]b[/bold] \x1b[31mred \x07 \u202egnp"


@given(st.text())
def test_nothing_that_acts_is_left(text: str) -> None:
    assert not any((ord(letter) < 32 and letter not in "\n\t") or 127 <= ord(letter) < 160 for letter in shown(text))
    assert shown(shown(text)) == shown(text)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_hostile_text_stands_as_it_is_in_lines_tables_and_titles(is_terminal: bool) -> None:  # noqa: FBT001
    file = io.StringIO()
    console = Terminal(file=file, force_terminal=is_terminal, color_system=None, width=200)
    table = Table("column", title=HOSTILE)
    table.add_row(HOSTILE)
    console.print(table)
    console.print(HOSTILE)
    printed = file.getvalue()
    assert printed.count("[/x] [bold]b[/bold] \\x1b[31mred \\x07 \\u202egnp") == 3
    assert "\x1b[31m" not in printed


def test_log_line_shows_control_characters() -> None:
    record = logging.LogRecord("a", logging.WARNING, __file__, 1, "%s", (HOSTILE,), None)
    assert "\x1b" not in ShownFormatter("%(message)s").format(record)


def test_commands_print_on_no_other_console() -> None:
    """A console of rich's own would let text act; the one exception is the class that does not."""
    for path in (
        path for side in ("client", "common", "server", "simulations") for path in (ROOT / side).rglob("*.py")
    ):
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        made = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Console"]
        assert not made, f"{path}: prints on a console on which text acts"
