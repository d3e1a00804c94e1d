"""Reports as text: their file, and the sections of it that describe the images.

Findings and impression are what an image can teach a text, and the other way round. History, indication, technique and
comparison say what was known or done before; they are left out where the other two are there.
"""

from __future__ import annotations

import re
from pathlib import Path

from common.types import UnusableRow

MOST_REPORT_BYTES = 1 << 20
"""Largest file of one report that is read."""

_DESCRIBES = frozenset({"FINDINGS", "FINDING", "IMPRESSION", "IMPRESSIONS", "CONCLUSION"})
_HEADING = re.compile(r"^[ \t]*(?P<name>[A-Z][A-Z ,/&()-]*)[ \t]*:", re.MULTILINE)
_TITLE = re.compile(r"\A\s*(?:FINAL|WET READ|PRELIMINARY)\s+REPORT\s*\n")


def read_report(root: Path, relative: str) -> str | None:
    """The text of a report's own file; None where there is no such file.

    Raises:
        UnusableRow: The file leaves the data root, is too large, cannot be read, or is not UTF-8.
    """
    try:
        path = (root / relative).resolve()
        if not path.is_relative_to(root.resolve()):
            raise UnusableRow("report file leaves the data root; put it under it")
        with path.open("rb") as file:
            content = file.read(MOST_REPORT_BYTES + 1)
    except FileNotFoundError:
        return None
    except (OSError, RuntimeError) as error:  # a loop of links, too
        raise UnusableRow(f"report file cannot be read ({type(error).__name__}); restore it") from error
    if len(content) > MOST_REPORT_BYTES:
        raise UnusableRow(f"report file holds more than {MOST_REPORT_BYTES:,} bytes; restore it")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnusableRow("report file is not UTF-8; restore it") from error


def describing_sections(text: str) -> str:
    """Findings and impression of a report whose sections begin with names in capitals and a colon, a line each.

    A report without either is taken whole, but for its title and the names of its sections: many have one unnamed
    paragraph.
    """
    headings = list(_HEADING.finditer(text))
    ends = [heading.start() for heading in headings[1:]] + [len(text)]
    found = [
        text[heading.end() : end]
        for heading, end in zip(headings, ends, strict=False)  # without a heading there is one end
        if _DESCRIBES & set(re.split(r"[^A-Z]+", heading["name"]))
    ]
    return joined(found) or joined([_HEADING.sub("\n", _TITLE.sub("", text))])


def joined(sections: list[str]) -> str:
    """Sections, a line each, without the blank ones and with single spaces."""
    return "\n".join(line for section in sections if (line := " ".join(section.split())))
