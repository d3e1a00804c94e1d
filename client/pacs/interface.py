"""What every way to an archive offers: the studies of a day, the series of a study, and a series' instances.

An archive's word is not believed: identifiers are checked before they are asked for or name a folder (`is_uid`), what
lands is bounded (`client/pacs/landing.py`), and whose it is is read from each instance (`client/pacs/instances.py`).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from pydicom.config import disable_value_validation

from client.pacs.landing import Landing

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_MOST_UID_CHARACTERS = 64

REPORT_MODALITY = "SR"
"""The modality of series of structured documents, reports among them."""


@dataclass(frozen=True)
class FoundStudy:
    """A study that the archive says it has.

    Attributes:
        uid: Its StudyInstanceUID, as the archive wrote it.
        modalities: Of its series; empty where the archive does not say.
        num_instances: How many it says there are; None where it does not.
    """

    uid: str
    modalities: frozenset[str] = frozenset()
    num_instances: int | None = None


@dataclass(frozen=True)
class FoundSeries:
    """A series that the archive says a study has.

    Attributes:
        uid: Its SeriesInstanceUID, as the archive wrote it.
        modality: "" where the archive does not say.
        num_instances: How many it says there are; None where it does not.
    """

    uid: str
    modality: str = ""
    num_instances: int | None = None


@contextmanager
def lenient() -> Iterator[None]:
    """Let pydicom say nothing of odd values in the block: what lands is judged when it is read from the disk.

    Its warnings quote values, and so patients. Both settings are the process's.
    """
    with disable_value_validation(), warnings.catch_warnings(action="ignore"):
        yield


class Archive(Protocol):
    """One way to ask an archive.

    Each method raises

    - `ArchiveSilent` where the same question may be answered the next time,
    - `StudyRefused` where this study will not be had, and others may,
    - `ConfigError` or `TrustError` where nothing will be had before a person has changed something.
    """

    def studies_of(self, day: date) -> list[FoundStudy]:
        """Every study whose StudyDate is that day."""
        ...

    def series_of(self, study_uid: str) -> list[FoundSeries]:
        """Every series of a study."""
        ...

    def fetch(self, study_uid: str, series_uid: str, landing: Landing) -> None:
        """Let each instance of a series land."""
        ...


def is_uid(text: str) -> bool:
    """Whether a text is a UID (DICOM PS3.5, 9.1) as archives write it, and so harmless as a file's name."""
    return len(text) <= _MOST_UID_CHARACTERS and _UID.fullmatch(text) is not None


def whole_number(value: object) -> int | None:
    """A count that an archive gave, or None where that is none."""
    text = str(value).strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
