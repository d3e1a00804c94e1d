"""The auditor's report as one page that needs no network, and the annex to a DPIA as Markdown.

The page holds no script, and its content security policy allows none. The annex has blanks for what only people know.
"""

from __future__ import annotations

import re
from pathlib import Path

import server.report
from common.config.schema import RunConfig
from common.templates import markdown_templates, page_templates
from server.report import words as report_words
from simulations.audits.promises import words
from simulations.audits.promises.answers import Answer
from simulations.audits.promises.report import AuditReport

BLANK = "**[to fill in]**"
_ACTING_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~])")


def page(report: AuditReport) -> str:
    """The report as HTML."""
    here = Path(__file__).parent
    styles = (Path(server.report.__file__).with_name("style.css"), here / "page.css")
    return (
        page_templates(here)
        .get_template("page.html")
        .render(
            report=report,
            Answer=Answer,
            words=words,
            numbers={check.name: number for number, check in enumerate(report.checks, start=1)},
            style="\n".join(path.read_text(encoding="utf-8") for path in styles),
        )
    )


def annex(report: AuditReport, config: RunConfig | None) -> str:
    """The annex to a data protection impact assessment, with blanks.

    Args:
        report: What was found.
        config: The run's configuration; None where it was not handed over.
    """
    environment = markdown_templates(Path(__file__).parent)
    environment.filters["md"] = escaped
    return environment.get_template("dpia.md").render(
        report=report, config=config, words=words, report_words=report_words, blank=BLANK
    )


def escaped(text: object) -> str:
    """Text of a file or a path in Markdown, in which nothing acts and which stays in its line."""
    return _ACTING_MARKDOWN.sub(r"\\\1", " ".join(str(text).split()))
