"""What a search can be narrowed by: age, sex and scanner of a study, as its hospital recorded them.

A study of which something is not known is left out by a filter on it.

Shapes: M studies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.types import StudyRecord

TRAITS = np.dtype([("sex", "u1"), ("age", "u1"), ("scanner", "<u4")])
"""Of one study; a scanner is known by 32 bits of a digest of its name."""

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
    """

    sex: str | None = None
    ages: tuple[int, int] | None = None
    scanner: str | None = None

    def mask(self, traits_M: NDArray[Any]) -> NDArray[np.bool_]:
        """Which studies pass, `[M]`."""
        passes_M = np.ones(len(traits_M), dtype=bool)
        if self.sex is not None:
            passes_M &= traits_M["sex"] == _number_of_sex(self.sex)
            passes_M &= traits_M["sex"] != _NOT_KNOWN
        if self.ages is not None:
            least, greatest = self.ages
            passes_M &= (traits_M["age"] >= least) & (traits_M["age"] <= min(greatest, _OLDEST))
        if self.scanner is not None:
            passes_M &= traits_M["scanner"] == _number_of_scanner(self.scanner)
        return passes_M


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What of the traits is recorded at all, and so can narrow a search.

    Attributes:
        sexes: Of "F", "M" and "O".
        ages: Least and greatest; None where no age is known.
    """

    sexes: tuple[str, ...] = ()
    ages: tuple[int, int] | None = None


def recorded_in(traits_M: NDArray[Any]) -> Recorded:
    """What the traits of some studies hold."""
    known = traits_M["age"][traits_M["age"] != _UNKNOWN_AGE]
    numbers = set(np.unique(traits_M["sex"]).tolist())
    return Recorded(
        sexes=tuple(sex for sex in SEXES if _number_of_sex(sex) in numbers),
        ages=(int(known.min()), int(known.max())) if len(known) else None,
    )


def traits_of(records: Sequence[StudyRecord]) -> NDArray[Any]:
    """Traits of some studies, `[M]`."""
    rows = [
        (
            _NOT_KNOWN if record.sex is None else _number_of_sex(record.sex),
            _UNKNOWN_AGE if record.age is None else min(max(record.age, 0), _OLDEST),
            _NOT_KNOWN if record.scanner is None else _number_of_scanner(record.scanner),
        )
        for record in records
    ]
    return np.array(rows, dtype=TRAITS)


def _number_of_sex(sex: str) -> int:
    return SEXES.index(sex) + 1 if sex in SEXES else _NOT_KNOWN


def _number_of_scanner(scanner: str) -> int:
    return int.from_bytes(hashlib.blake2b(scanner.encode(), digest_size=4).digest(), "little") or 1
