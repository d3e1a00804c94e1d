"""Age and sex as departments write them: DICOM's forms, spreadsheets' numbers, words of a few languages.

What is not understood is an unknown value, never a lost study: these fields serve the fairness tables alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

V = TypeVar("V", int, str)

OLDEST_YEARS = 120

UNITS_A_YEAR = {"y": 1, "m": 12, "w": 52, "d": 365}
"""Units of DICOM's age strings (PS3.5 6.2, AS), by how many of them make a year."""

BLANK = frozenset({"", "-", "--", "?", ".", "na", "n/a", "n.a.", "nan", "nil", "none", "null", "unknown", "unk"})
"""What stands, in any case, where nothing is known."""

SEXES = {
    "F": frozenset(
        {"f", "female", "woman", "w", "weiblich", "frau", "femme", "féminin", "feminin", "femenino", "mujer"}
    ),
    "M": frozenset({"m", "male", "man", "männlich", "maennlich", "mann", "homme", "masculin", "masculino", "hombre"}),
    "O": frozenset({"o", "other", "divers", "diverse", "non-binary", "nonbinary"}),
}
"""The values of `StudyRecord.sex` (DICOM PS3.3 C.7.1.1), and the words for each. Numbers are not among them: 1 is male
in ISO/IEC 5218 and female elsewhere."""

UNKNOWN_SEX = frozenset({"u", "n"})

_AGE = re.compile(
    r"(?P<above>>=|≥|>)?\s*(?P<number>[0-9]{1,3})(?:[.,](?P<part>[0-9]+))?\s*"
    r"(?:(?P<unit>y|m|w|d)[a-z/]*)?\s*(?P<more>\+)?"
)


class UnreadValue(ValueError):
    """A value is neither blank nor understood."""


@dataclass(frozen=True, slots=True)
class Demographics:
    """Who the patient of a study is, as far as it was understood.

    Attributes:
        sex: One of `SEXES`, or None.
        age: Completed years, or None.
        unread: Those of the two that held something that was not understood.
    """

    sex: str | None
    age: int | None
    unread: tuple[str, ...]


def demographics_of(*, sex: str | None, age: str | None) -> Demographics:
    """Sex and age by the words for them; what is not understood is unknown, and named."""
    found_sex, sex_is_read = _understood(sex, sex_of)
    found_age, age_is_read = _understood(age, age_of)
    unread = (*(() if sex_is_read else ("sex",)), *(() if age_is_read else ("age",)))
    return Demographics(found_sex, found_age, unread)


def age_of(text: str) -> int | None:
    """Completed years, or None where nothing is known.

    `045Y` is 45, `008M`, `003W` and `010D` are 0, `65.0` is 65; `90+`, `>=90` and `>89`, as ages are written that shall
    not name a person, are 90.

    Raises:
        UnreadValue: It is no age from 0 to 120 years.
    """
    words = text.strip().casefold()
    if words in BLANK:
        return None
    found = _AGE.fullmatch(words)
    if found is None:
        raise UnreadValue("age")
    years = int(found["number"]) // UNITS_A_YEAR[found["unit"] or "y"] + (found["above"] == ">")
    if years > OLDEST_YEARS:
        raise UnreadValue("age")
    return years


def sex_of(text: str) -> str | None:
    """One of `SEXES`, or None where nothing is known.

    Raises:
        UnreadValue: It is none of the words.
    """
    word = text.strip().casefold()
    if word in BLANK or word in UNKNOWN_SEX:
        return None
    for sex, words in SEXES.items():
        if word in words:
            return sex
    raise UnreadValue("sex")


def _understood(text: str | None, reader: Callable[[str], V | None]) -> tuple[V | None, bool]:
    try:
        return reader(text or ""), True
    except UnreadValue:
        return None, False
