"""Rules on questions of other hospitals: who may ask, when, for how much, how often, and how near to what was asked.

The last two keep an index from being walked: whoever asks around one code, or is shown one study after another, comes
to an end for the day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from client.policy.interface import Refusal, SearchRequest
from client.policy.site_schema import ANY


@dataclass(frozen=True)
class AllowedAskers:
    """The hospital that asks is one that may.

    Attributes:
        names: Names, or `any`; none refuses everybody.
    """

    names: Sequence[str]
    name: ClassVar[str] = "who may search"

    def looks_at(self, request: SearchRequest) -> str:
        """See `PolicyRule`."""
        return request.asker

    def check(self, request: SearchRequest) -> Refusal | None:
        """See `PolicyRule`."""
        if request.asker in self.names or list(self.names) == [ANY]:
            return None
        return Refusal(reason=f"{request.asker} is not among those that may search", remedy="add it to search.allowed")


@dataclass(frozen=True)
class QuestionsPerHour:
    """One hospital does not ask too often.

    Attributes:
        most: In an hour.
    """

    most: int
    name: ClassVar[str] = "questions an hour"

    def looks_at(self, request: SearchRequest) -> str:
        """See `PolicyRule`."""
        return f"{request.asked_this_hour} before it, most {self.most}"

    def check(self, request: SearchRequest) -> Refusal | None:
        """See `PolicyRule`."""
        if request.asked_this_hour < self.most:
            return None
        return Refusal(
            reason=f"{request.asker} asked {request.asked_this_hour} times in an hour",
            remedy="raise search.questions_per_hour",
        )


@dataclass(frozen=True)
class NearbyPerDay:
    """One hospital does not ask around one code again and again.

    Attributes:
        most: Questions in a day whose codes lie near this one.
    """

    most: int
    name: ClassVar[str] = "nearby questions a day"

    def looks_at(self, request: SearchRequest) -> str:
        """See `PolicyRule`."""
        return f"{request.nearby_today} before it, most {self.most}"

    def check(self, request: SearchRequest) -> Refusal | None:
        """See `PolicyRule`."""
        if request.nearby_today < self.most:
            return None
        return Refusal(
            reason=f"{request.asker} asked {request.nearby_today} times near this code in a day",
            remedy="raise search.nearby_per_day, or lower search.nearby_bits",
        )


@dataclass(frozen=True)
class StudiesPerDay:
    """One hospital is not told of one study after another.

    Attributes:
        most: Different studies in a day.
    """

    most: int
    name: ClassVar[str] = "studies a day"

    def looks_at(self, request: SearchRequest) -> str:
        """See `PolicyRule`."""
        return f"{request.told_today} before it, most {self.most}"

    def check(self, request: SearchRequest) -> Refusal | None:
        """See `PolicyRule`."""
        if request.told_today < self.most:
            return None
        return Refusal(
            reason=f"{request.asker} was told of {request.told_today} studies in a day",
            remedy="raise search.studies_per_day",
        )
