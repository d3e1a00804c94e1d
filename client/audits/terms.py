"""The list of words that doubt, blame or stigmatise, and where a text uses them in earnest.

The list is a table that a hospital may edit, or replace by one in its language: words (forms between `|`; a hyphen
also matches a space or nothing), category, source, and what the words are innocent in (between `;`). The sources
are studies of clinical notes and of the words in them, each looked up; a row that none of them carries says
`wardround`, for the project's own judgement. The forms are written for radiology reports, so words that are plain
findings there ("denies", "complains of", "apparently") are left out. Two more categories steer the reading:
`negation`, words before which nothing that follows in the clause within `SCOPE` words counts, and `quoted term`,
words after which quotation marks hold a name ("the 'bat wing' sign").

Negation is read by this list and not by the terminology's scopes, so that a hospital's own list brings that of its
language, and because the audit's rates of false alarms were measured with it.

Quotation marks around a few words of the patient count as doubt (Beach et al., 2021, 10.1007/s11606-021-06682-z).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from common.config.registry import near
from common.errors import ConfigError

CATEGORIES = ("doubt", "blame", "stigma")
NEGATION, QUOTED_TERM = "negation", "quoted term"
COLUMNS = ("words", "category", "source", "except")

SCOPE = 4
"""Words that a negation reaches."""

MOST_QUOTED = 8
"""Words between quotation marks that still read as a patient's own."""

_CLAUSE_END = re.compile(r"[.;:!?]|\b(?:but|however|although|though|yet|except)\b")
_MARKS = '"\u201c\u201d\u201e\u00ab\u00bb'
_QUOTED = re.compile(rf"(?<!\w)[{_MARKS}]\s*([^{_MARKS}]{{2,80}}?)\s*[{_MARKS}]")


@dataclass(frozen=True, kw_only=True)
class Used:
    """One word of the list as a text uses it.

    Attributes:
        category: One of `CATEGORIES`.
        words: As in the text, in small letters.
        source: Where the list has it from.
    """

    category: str
    words: str
    source: str


@dataclass(frozen=True)
class Terms:
    """A list, ready to read with.

    Attributes:
        rows: Pattern, category, source and the pattern of what is innocent, of each row.
        negation: Pattern of the words that negate.
        quoted_term: Pattern of what makes quotation marks hold a name.
    """

    rows: tuple[tuple[re.Pattern[str], str, str, re.Pattern[str]], ...]
    negation: re.Pattern[str]
    not_negation: re.Pattern[str]
    quoted_term: re.Pattern[str]

    def used_in(self, text: str) -> list[Used]:
        """The words of the list that a text uses in earnest, negated and innocent ones left out."""
        small = " ".join(text.lower().split())
        return [*self._words(small), *self._quotations(small)]

    def _words(self, text: str) -> Iterator[Used]:
        for pattern, category, source, innocent in self.rows:
            for found in pattern.finditer(text):
                harmless = (other.span() for other in innocent.finditer(text))
                inside = any(start <= found.start() and found.end() <= end for start, end in harmless)
                if not inside and not self.is_negated(text[: found.start()]):
                    yield Used(category=category, words=found[0], source=source)

    def _quotations(self, text: str) -> Iterator[Used]:
        for found in _QUOTED.finditer(text):
            following = " ".join(text[found.end() :].split()[:2])
            named = self.quoted_term.search(following) or self.quoted_term.search(found[1])
            if not named and 1 <= len(found[1].split()) <= MOST_QUOTED and re.search(r"[a-z]{2}", found[1]):
                yield Used(category="doubt", words=found[0], source="Beach 2021, 10.1007/s11606-021-06682-z")

    def is_negated(self, before: str) -> bool:
        """Whether a word is negated by what stands before it, in small letters."""
        clause = self.not_negation.sub(" ", _CLAUSE_END.split(before)[-1])
        return self.negation.search(" ".join(clause.split()[-SCOPE:])) is not None


def read_terms(path: Path | None = None) -> Terms:
    """The package's list, or that of a file.

    Raises:
        ConfigError: The file cannot be read, or a row has an unknown category or no words; file and line are named.
    """
    name = "terms.csv" if path is None else str(path)
    try:
        if path is None:
            text = (resources.files("client.audits") / name).read_text(encoding="utf-8")
        else:
            text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{name}: the list of words cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: is not UTF-8; save it again as UTF-8") from error
    rows = csv.DictReader(text.splitlines())
    missing = [column for column in COLUMNS if column not in (rows.fieldnames or ())]
    if missing:
        raise ConfigError(f"{name}: has no column {missing[0]}; the first line is {','.join(COLUMNS)}")
    return _terms(list(_checked(rows, name)))


def _checked(rows: Iterable[Mapping[str, str | None]], name: str) -> Iterator[dict[str, str]]:
    known = [*CATEGORIES, NEGATION, QUOTED_TERM]
    for line, row in enumerate(rows, start=2):
        values = {column: (row[column] or "").strip() for column in COLUMNS}
        if values["category"] not in known:
            raise ConfigError(f"{name} line {line}: category {values['category']}: {near(values['category'], known)}")
        if not all(word.strip() for word in values["words"].split("|")):
            raise ConfigError(f"{name} line {line}: words: empty; write one form or more, with | between")
        yield values


def _terms(rows: list[dict[str, str]]) -> Terms:
    steering = {category: [row for row in rows if row["category"] == category] for category in (NEGATION, QUOTED_TERM)}
    return Terms(
        rows=tuple(
            (_pattern(row["words"].split("|")), row["category"], row["source"], _pattern(row["except"].split(";")))
            for row in rows
            if row["category"] in CATEGORIES
        ),
        negation=_pattern(form for row in steering[NEGATION] for form in row["words"].split("|")),
        not_negation=_pattern(form for row in steering[NEGATION] for form in row["except"].split(";")),
        quoted_term=_pattern(form for row in steering[QUOTED_TERM] for form in row["words"].split("|")),
    )


def _pattern(forms: Iterable[str]) -> re.Pattern[str]:
    """A pattern of whole words; one that matches nothing where there are none."""
    written = [form.strip().lower() for form in forms if form.strip()]
    spelt = ["[- ]?".join(re.escape(part) for part in form.split("-")) for form in sorted(written, key=len)[::-1]]
    return re.compile(rf"(?<![\w-])(?:{'|'.join(spelt)})(?![\w-])" if spelt else r"(?!)")
