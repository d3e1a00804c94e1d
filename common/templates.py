"""Templates of pages and of Markdown: a name that is not filled in is an error, and what fills a page acts nowhere."""

from __future__ import annotations

from pathlib import Path

import jinja2


def page_templates(folder: Path) -> jinja2.Environment:
    """Templates of HTML in a folder; everything that is filled in is escaped."""
    return _templates(folder, autoescape=True)


def markdown_templates(folder: Path) -> jinja2.Environment:
    """Templates of Markdown in a folder; nothing is escaped, which a template does with filters of its own."""
    return _templates(folder, autoescape=False)


def _templates(folder: Path, *, autoescape: bool) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=autoescape,  # noqa: S701 - on for every page
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
