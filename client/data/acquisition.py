"""When a study was made and by what kind of machine, as departments write it: DICOM's forms, and spreadsheets' dates.

What is not understood is an unknown value, never a lost study: both serve to narrow a search at the hospital itself.
A day such as 03/04/2020 is two days in two countries, and so is not understood.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from client.data.demographics import BLANK, UnreadValue

V = TypeVar("V", datetime.date, str)

EARLIEST_YEAR = 1895
"""Of the first radiograph; an earlier date stands for none, such as 1800-01-01 or 0001-01-01."""
LATEST_YEAR = 2199

_DATE = re.compile(
    r"(?P<year>[0-9]{4})(?P<mark>[-./]?)(?P<month>[0-9]{2})(?P=mark)(?P<day>[0-9]{2})(?:\.0|[ T][0-9:.,+Zz-]+)?"
)
_MODALITY = re.compile(r"[A-Z][A-Z0-9_]{1,15}")
_SHORT_NAMES = {"MRI": "MR", "PET": "PT", "ULTRASOUND": "US", "MAMMOGRAPHY": "MG"}
"""DICOM's short names (PS3.3 C.7.3.1.1.1) of what departments write in words."""


@dataclass(frozen=True, slots=True)
class Acquisition:
    """When and how a study was made, as far as it was understood.

    Attributes:
        date: The day, or None.
        modality: DICOM's short name, or None.
        unread: Those of the two that held something that was not understood.
    """

    date: datetime.date | None
    modality: str | None
    unread: tuple[str, ...]


def acquisition_of(*, date: str | None, modality: str | None) -> Acquisition:
    """Day and modality by the words for them; what is not understood is unknown, and named."""
    found_date, date_is_read = _understood(date, date_of)
    found_modality, modality_is_read = _understood(modality, modality_of)
    unread = (*(() if date_is_read else ("date",)), *(() if modality_is_read else ("modality",)))
    return Acquisition(found_date, found_modality, unread)


def date_of(text: str) -> datetime.date | None:
    """The day, or None where nothing is known.

    `20130527` (DICOM PS3.5 6.2, DA), `2013-05-27`, `2013/05/27` and `2013.05.27`, with a time behind it or not.

    Raises:
        UnreadValue: It is no such day, or before the first radiograph.
    """
    words = text.strip()
    if words.casefold() in BLANK:
        return None
    found = _DATE.fullmatch(words)
    if found is None or not EARLIEST_YEAR <= int(found["year"]) <= LATEST_YEAR:
        raise UnreadValue("date")
    try:
        return datetime.date(int(found["year"]), int(found["month"]), int(found["day"]))
    except ValueError as error:
        raise UnreadValue("date") from error


def modality_of(text: str) -> str | None:
    """DICOM's short name, such as CT, MR, DX or US, or None where nothing is known.

    Raises:
        UnreadValue: It is none.
    """
    words = text.strip().upper()
    if words.casefold() in BLANK:
        return None
    name = _SHORT_NAMES.get(words, words)
    if not _MODALITY.fullmatch(name):
        raise UnreadValue("modality")
    return name


def _understood(text: str | None, reader: Callable[[str], V | None]) -> tuple[V | None, bool]:
    try:
        return reader(text or ""), True
    except UnreadValue:
        return None, False
