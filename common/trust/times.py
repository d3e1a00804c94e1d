"""Times in signed files, and when what is signed comes to its end. Every time is UTC; every clock is handed in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from common.errors import TrustError

CLOCK_SKEW = timedelta(hours=1)
"""How far two machines' clocks may be apart: what begins now begins this much earlier."""

WARN_BEFORE = timedelta(days=30)
"""How long before its end something is warned of."""


@dataclass(frozen=True, kw_only=True)
class Expiry:
    """When something comes to its end.

    Attributes:
        what: What it is, in words.
        begin: From when it holds.
        end: Until when it holds.
        remedy: What to do before then, and after.
    """

    what: str
    begin: datetime
    end: datetime
    remedy: str

    def check(self, now: datetime) -> None:
        """Return where it holds.

        Raises:
            TrustError: It does not hold yet, or no longer.
        """
        if now < self.begin:
            raise TrustError(
                f"the {self.what} is not valid before {as_text(self.begin)}, and this machine's clock says "
                f"{as_text(now)}; set the clock"
            )
        if now >= self.end:
            raise TrustError(f"the {self.what} expired on {self.end:%Y-%m-%d}; {self.remedy}")

    def is_near(self, now: datetime) -> bool:
        """Whether it ends soon, or has ended."""
        return self.end - now < WARN_BEFORE

    def in_words(self, now: datetime) -> str:
        """For a person: what, when, and how long that is from now."""
        if now >= self.end:
            return f"{self.what}: EXPIRED on {self.end:%Y-%m-%d}"
        days = (self.end - now).days
        return f"{self.what}: expires on {self.end:%Y-%m-%d}, in {days} day{'' if days == 1 else 's'}"


def as_text(time: datetime) -> str:
    """A time in ISO 8601, UTC, to the second."""
    return time.astimezone(UTC).isoformat(timespec="seconds")


def from_text(text: str) -> datetime:
    """The time that `as_text` wrote.

    Raises:
        TrustError: The text is none.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise TrustError("a time is not written in ISO 8601") from error
    if time.tzinfo is None or as_text(time) != text:
        raise TrustError("a time is not written in UTC, to the second")
    return time
