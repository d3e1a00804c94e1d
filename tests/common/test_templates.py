"""What fills a page is escaped, what fills Markdown is not, and a name that is not filled in is an error."""

from __future__ import annotations

from pathlib import Path

import jinja2
import pytest

from common.templates import markdown_templates, page_templates

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "one").write_text("{% if said %}\n{{ said }}\n{% endif %}\n", encoding="utf-8")
    return tmp_path


def test_page_escapes_what_fills_it(folder: Path) -> None:
    assert page_templates(folder).get_template("one").render(said=HOSTILE) == "&lt;script&gt;alert(1)&lt;/script&gt;\n"


def test_markdown_is_filled_as_it_is(folder: Path) -> None:
    assert markdown_templates(folder).get_template("one").render(said=HOSTILE) == f"{HOSTILE}\n"


def test_name_that_is_not_filled_in_is_an_error(folder: Path) -> None:
    for templates in (page_templates, markdown_templates):
        with pytest.raises(jinja2.UndefinedError):
            templates(folder).get_template("one").render()
