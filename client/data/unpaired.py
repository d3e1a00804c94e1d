"""Studies that lack their report or their image: counted, and made whole with blanks to be encoded with the others.

A blank image is black, a blank report has no words: both public, the same at every hospital. What a study lacks stays
written in its record, and the objective asks nothing of a blank (`common/losses/unpaired.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from common.types import BadRow, Image, Lacks, Study, StudyRecord, Unpaired

BLANK_SIDE = 64
"""Pixels of a blank image's side; each encoder makes of it what it makes of any."""


@dataclass(frozen=True, kw_only=True)
class UnpairedCount:
    """How many studies lack a half.

    Attributes:
        without_report: Studies that have no report.
        without_image: Studies that have no image.
        remedies: What would bring what they lack, the most wanted first.
    """

    without_report: int = 0
    without_image: int = 0
    remedies: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.without_report or self.without_image)

    @property
    def in_words(self) -> str:
        """The count, for people."""
        return f"{self.without_report:,} without report, {self.without_image:,} without image"

    @property
    def only_problem(self) -> str:
        """What to say where no study has both."""
        return f"no study has both a report and an image: {self.in_words}; {'; '.join(self.remedies)}"


def with_blank(item: Unpaired) -> Study:
    """The study with a blank for what it lacks, which its record names."""
    record = replace(item.record, lacks=item.lacks)
    images = item.images or (blank_image(),)
    return Study(record, images[0], images[1:])


def listed_record(item: StudyRecord | Unpaired | BadRow) -> StudyRecord | None:
    """The record of what a folder lists, with what the study lacks; None of a bad row."""
    if isinstance(item, Unpaired):
        return replace(item.record, lacks=item.lacks)
    return item if isinstance(item, StudyRecord) else None


def blank_image() -> Image:
    """What stands for an image."""
    return np.zeros((BLANK_SIDE, BLANK_SIDE), dtype=np.uint8)


class UnpairedTally:
    """Counts unpaired studies as they come, keeping none of them."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[Lacks, str]] = Counter()

    def add(self, item: Unpaired) -> None:
        """Count one."""
        self._counts[item.lacks, item.remedy] += 1

    @property
    def count(self) -> UnpairedCount:
        """What was counted so far."""
        return UnpairedCount(
            without_report=_num(self._counts, Lacks.REPORT),
            without_image=_num(self._counts, Lacks.IMAGE),
            remedies=tuple(remedy for (_, remedy), _ in self._counts.most_common()),
        )


def _num(counts: Mapping[tuple[Lacks, str], int], lacks: Lacks) -> int:
    return sum(count for (kind, _), count in counts.items() if kind is lacks)
