"""A terminal on which text of data, of a peer or of a file is only text.

rich takes square brackets for markup, and passes escape sequences on; a hospital may be named `[/x]`, and a cell of its
table hold a sequence that moves the cursor. Here nothing acts: brackets stand, control characters are shown.
"""

from __future__ import annotations

import logging
import re
from typing import Any

from rich.console import Console
from rich.text import Text

_ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Control characters but for the new line and the tab, and what turns the direction of text."""


def shown(text: str) -> str:
    """The text, in which what would act on a terminal stands as its number does in Python."""
    return _ACTING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class Terminal(Console):
    """A rich console for text that nobody vouches for.

    Args:
        stderr: Whether it is standard error.
        markup: Whether markup acts: for tables of our own words, in which what comes from elsewhere is escaped.
        options: What rich's console takes.
    """

    def __init__(self, *, stderr: bool = False, markup: bool = False, **options: Any) -> None:  # noqa: ANN401 - rich's
        super().__init__(stderr=stderr, markup=markup, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:  # noqa: ANN401 - rich's
        """Every string that is printed, in a table too, comes through here."""
        return super().render_str(shown(text), **options)


class ShownFormatter(logging.Formatter):
    """Log lines for a terminal, whose control characters are shown."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return shown(super().format(record))
