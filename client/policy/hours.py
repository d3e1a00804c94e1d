"""Hours of the day in which a hospital's machines may train for others; a window may cross midnight."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import time

from common.errors import ConfigError

_WINDOW = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, kw_only=True)
class Hours:
    """A daily window of local time.

    Attributes:
        start: First minute inside it.
        end: First minute after it; before `start` where the window crosses midnight.
    """

    start: time
    end: time

    def __contains__(self, moment: time) -> bool:
        if self.start < self.end:
            return self.start <= moment < self.end
        return moment >= self.start or moment < self.end

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M}"


def hours_of(text: str) -> Hours | None:
    """The window that a text such as "22:00-06:00" names; None for "", which is always.

    Raises:
        ConfigError: The text is of another form, or the window is empty.
    """
    if not text:
        return None
    match = _WINDOW.fullmatch(text)
    if match is None:
        raise ConfigError(f'not hours; write "22:00-06:00" with two digits each, or "" for always (is: {text})')
    first_hour, first_minute, last_hour, last_minute = map(int, match.groups())
    hours = Hours(start=time(first_hour, first_minute), end=time(last_hour, last_minute))
    if hours.start == hours.end:
        raise ConfigError(f'starts when it ends; write "" for always (is: {text})')
    return hours
