"""What a search can be narrowed by: age, sex, scanner, day and modality of a study, as its hospital recorded them.

A study of which something is not known is left out by a filter on it.

Shapes: M studies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.types import BadRow, StudyRecord, Unpaired

TRAITS = np.dtype([("sex", "u1"), ("age", "u1"), ("scanner", "<u4"), ("date", "<u4"), ("modality", "<u4")])
"""Of one study; scanner and modality are 32 bits of a digest of their names, a day is its number from 1 January 1."""

TRAITS_OF_FIRST = np.dtype([("sex", "u1"), ("age", "u1"), ("scanner", "<u4")])
"""As an index of the first version has them."""

SEXES = ("F", "M", "O")
_UNKNOWN_AGE, _OLDEST = 255, 254
_NOT_KNOWN = 0


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which studies a search may find; None lets all pass.

    Attributes:
        sex: "F", "M" or "O".
        ages: Least and greatest age in years, both included.
        scanner: Name of the scanner, as recorded; where a layout records none, that of the modality.
        dates: First and last day, both included.
        modality: DICOM's short name.
    """

    sex: str | None = None
    ages: tuple[int, int] | None = None
    scanner: str | None = None
    dates: tuple[date, date] | None = None
    modality: str | None = None

    def mask(self, traits_M: NDArray[Any]) -> NDArray[np.bool_]:
        """Which studies pass, `[M]`."""
        passes_M = np.ones(len(traits_M), dtype=bool)
        if self.sex is not None:
            passes_M &= traits_M["sex"] == _number_of_sex(self.sex)
            passes_M &= traits_M["sex"] != _NOT_KNOWN
        if self.ages is not None:
            least, greatest = self.ages
            passes_M &= (traits_M["age"] >= least) & (traits_M["age"] <= min(greatest, _OLDEST))
        if self.dates is not None:
            first, last = (day.toordinal() for day in self.dates)
            passes_M &= (traits_M["date"] >= first) & (traits_M["date"] <= last)
        for trait, name in (("scanner", self.scanner), ("modality", self.modality)):
            if name is not None:
                passes_M &= traits_M[trait] == _number_of_name(name)
        return passes_M


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What of the traits is recorded at all, and so can narrow a search.

    Attributes:
        sexes: Of "F", "M" and "O".
        ages: Least and greatest; None where no age is known.
        dates: First and last day; None where no day is known.
    """

    sexes: tuple[str, ...] = ()
    ages: tuple[int, int] | None = None
    dates: tuple[date, date] | None = None


@dataclass(frozen=True, kw_only=True)
class Names:
    """Names that a search can be narrowed to; an index keeps digests of them alone.

    Attributes:
        scanners: Of scanners.
        modalities: Of modalities.
    """

    scanners: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()


def recorded_in(traits_M: NDArray[Any]) -> Recorded:
    """What the traits of some studies hold."""
    ages = traits_M["age"][traits_M["age"] != _UNKNOWN_AGE]
    days = traits_M["date"][traits_M["date"] != _NOT_KNOWN]
    numbers = set(np.unique(traits_M["sex"]).tolist())
    return Recorded(
        sexes=tuple(sex for sex in SEXES if _number_of_sex(sex) in numbers),
        ages=(int(ages.min()), int(ages.max())) if len(ages) else None,
        dates=(date.fromordinal(int(days.min())), date.fromordinal(int(days.max()))) if len(days) else None,
    )


def names_in(records: Iterable[StudyRecord | Unpaired | BadRow]) -> Names:
    """Names of the scanners and modalities of some studies, each once."""
    found: tuple[set[str], set[str]] = (set(), set())
    for record in records:
        if isinstance(record, StudyRecord):
            for names, name in zip(found, (record.scanner, record.modality), strict=True):
                names |= {name} if name else set()
    scanners, modalities = map(sorted, found)
    return Names(scanners=tuple(scanners), modalities=tuple(modalities))


def traits_of(records: Sequence[StudyRecord]) -> NDArray[Any]:
    """Traits of some studies, `[M]`."""
    rows = [
        (
            _NOT_KNOWN if record.sex is None else _number_of_sex(record.sex),
            _UNKNOWN_AGE if record.age is None else min(max(record.age, 0), _OLDEST),
            _NOT_KNOWN if record.scanner is None else _number_of_name(record.scanner),
            _NOT_KNOWN if record.date is None else record.date.toordinal(),
            _NOT_KNOWN if record.modality is None else _number_of_name(record.modality),
        )
        for record in records
    ]
    return np.array(rows, dtype=TRAITS)


def widened(traits_M: NDArray[Any]) -> NDArray[Any]:
    """Traits of an older index `[M]` with what it does not know as not known."""
    wide_M = np.zeros(len(traits_M), TRAITS)
    for name in traits_M.dtype.names or ():
        wide_M[name] = traits_M[name]
    return wide_M


def _number_of_sex(sex: str) -> int:
    return SEXES.index(sex) + 1 if sex in SEXES else _NOT_KNOWN


def _number_of_name(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "little") or 1
