"""The bytes of a table as text: what encoding it is in, and what stands between its fields.

Found, in this order: a byte order mark (UTF-8, UTF-16); UTF-8, which is what other encodings hardly ever look like;
Windows-1252, in which spreadsheets of Western Europe and America write. The separator is the one under which the first
line names the most of the columns that are looked for; a line `sep=;` before it, as spreadsheets write, is believed.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Collection
from dataclasses import dataclass

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_SEPARATOR_LINE = re.compile(r"sep=(?P<separator>[,;\t])\r?\n", re.IGNORECASE)
_UTF8_CHARACTER = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")


class UnknownEncoding(ValueError):
    """The bytes are text in none of the encodings.

    Attributes:
        line: 1-based line of the first byte that does not fit.
    """

    def __init__(self, line: int) -> None:
        super().__init__(f"line {line}")
        self.line = line


@dataclass(frozen=True)
class TableText:
    """A table's text.

    Attributes:
        text: All of it, without a line that names the separator.
        encoding: Its name, for people.
        separator: What stands between fields.
        first_line: 1-based line of the file on which the text begins.
    """

    text: str
    encoding: str
    separator: str
    first_line: int

    @property
    def in_words(self) -> str:
        """How the table is written."""
        return f"{SEPARATORS[self.separator]} between fields, {self.encoding}"


def table_text(content: bytes, *, columns: Collection[str]) -> TableText:
    """The text of a file.

    Args:
        content: The file.
        columns: Names that its first line should hold, in any case.

    Raises:
        UnknownEncoding: It is no text.
    """
    text, encoding = _decoded(content)
    declared = _SEPARATOR_LINE.match(text)
    if declared is not None:
        return TableText(text[declared.end() :], encoding, declared["separator"], 2)
    return TableText(text, encoding, _separator(text, columns), 1)


def names_in_header(fields: list[str]) -> list[str]:
    """Names of columns as they are looked for: without white space around them, in lower case."""
    return [field.strip().casefold() for field in fields]


def _decoded(content: bytes) -> tuple[str, str]:
    for mark, codec, name in _MARKS:
        if content.startswith(mark):
            try:
                return content.decode(codec), name
            except UnicodeDecodeError as error:
                raise UnknownEncoding(_line_of(content, error)) from error
    try:
        return content.decode("utf-8"), "UTF-8"
    except UnicodeDecodeError as error:
        # UTF-8 with a broken byte is no Windows-1252: every other accent would be wrong.
        if len(_UTF8_CHARACTER.findall(content)) > 1:
            raise UnknownEncoding(_line_of(content, error)) from error
        try:
            return content.decode("cp1252"), "Windows-1252"
        except UnicodeDecodeError:
            raise UnknownEncoding(_line_of(content, error)) from error


def _line_of(content: bytes, error: UnicodeDecodeError) -> int:
    return content.count(b"\n", 0, error.start) + 1


def _separator(text: str, columns: Collection[str]) -> str:
    head = text.lstrip("\r\n").partition("\n")[0].rstrip("\r")
    wanted = {name.casefold() for name in columns}

    def num_named(separator: str) -> tuple[int, int]:
        fields = names_in_header(next(csv.reader([head], delimiter=separator), []))
        return len(wanted & set(fields)), len(fields)

    return max(SEPARATORS, key=num_named)  # of equals the first: commas
