"""Studies that lack their report or their image, counted; none is trained on yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from common.types import Lacks, Unpaired


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
