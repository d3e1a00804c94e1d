"""The page as HTML. Its content security policy names its style and its one script by digest, and allows nothing else.

A script that came in through a report or a hospital's name would not run even if escaping failed, and nothing is
fetched: pictures stand in the page itself.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from common.templates import page_templates

_STYLES = ("page.css", "model.css")

# Without it, or without the right to the clipboard, a reference can be selected and copied by hand.
_COPY = """
for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
    } catch { button.textContent = "Select it, and copy"; }
  });
}
"""


PAGE, WHERE, MODEL, FEEDBACK = "page.html", "where.html", "model.html", "feedback.html"


def render(template: str, **content: Any) -> str:  # noqa: ANN401 - what the template names
    """A page with what its template names; everything is escaped."""
    return _templates().get_template(template).render(style=_style(), script=_COPY, **content)


def policy() -> str:
    """The page's content security policy."""
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src '{_digest(_style())}'",
            f"script-src '{_digest(_COPY)}'",
            "img-src data:",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    )


@cache
def _templates() -> jinja2.Environment:
    return page_templates(Path(__file__).parent)


@cache
def _style() -> str:
    return "".join((Path(__file__).parent / name).read_text(encoding="utf-8") for name in _STYLES)


def _digest(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
