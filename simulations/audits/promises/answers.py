"""What a check came to, with the files that it read; and what the checks of a promise come to together.

There are three answers. A check that could not be made, because a file was not handed over or does not say, is none of
the other two: a promise holds only where each of its checks does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from common.errors import CannotTell, CheckFailed, ConfigError, TrustError, WardroundError


class Answer(StrEnum):
    """What a check or a promise came to."""

    HOLDS = "holds"
    FAILS = "does not hold"
    CANNOT_TELL = "cannot tell"

    @property
    def as_json(self) -> bool | None:
        """True, false, or null where it cannot be told."""
        return {Answer.HOLDS: True, Answer.FAILS: False, Answer.CANNOT_TELL: None}[self]


class Promise(StrEnum):
    """The promises of the README's table, in its order."""

    GATED = "gated"
    EPSILON = "epsilon"
    BAD_HOSPITAL = "bad_hospital"
    CRASH = "crash"
    SERVED = "served"
    OFFLINE = "offline"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check.

    Attributes:
        name: What was looked at.
        promises: The promises that rest on it.
        answer: What it came to.
        says: What was found, in one line.
        files: The files that were read.
        command: The command that makes the same check alone, or this one.
        seconds: How long it took.
        claimed_epsilon: Epsilon that was recomputed or claimed; None where the check is of something else.
        lower_bound: Epsilon that an attack shows at least; None without an attack.
        exit_code: Of the command, where this check alone fails; 0 where it does not.
    """

    name: str
    promises: tuple[Promise, ...]
    answer: Answer
    says: str
    files: tuple[Path, ...]
    command: str
    seconds: float = 0.0
    claimed_epsilon: float | None = None
    lower_bound: float | None = None
    exit_code: int = 0


def checked(
    name: str,
    check: Callable[[], str],
    *,
    promises: Iterable[Promise],
    files: Iterable[Path],
    command: str,
    claimed_epsilon: float | None = None,
) -> Check:
    """Make a check: what it says where it holds, and the line of its error where it does not."""
    begun = time.perf_counter()
    try:
        says, error = check(), None
    except WardroundError as raised:
        says, error = str(raised), raised
    return Check(
        name=name,
        promises=tuple(promises),
        answer=answer_of(error),
        says=says,
        files=tuple(files),
        command=command,
        seconds=time.perf_counter() - begun,
        claimed_epsilon=claimed_epsilon,
        exit_code=exit_code_of(error),
    )


def answer_of(error: WardroundError | None) -> Answer:
    """What a check came to that ended with this error, or without one."""
    if error is None:
        return Answer.HOLDS
    return Answer.CANNOT_TELL if isinstance(error, CannotTell) else Answer.FAILS


def exit_code_of(error: WardroundError | None) -> int:
    """4 where something that was handed over is not what it should be, else 1; 0 where nothing fails.

    A file that was handed over as evidence and cannot be read at all (`ConfigError`) is not that evidence.
    """
    if error is None or isinstance(error, CannotTell):
        return 0
    is_of_trust = isinstance(error, ConfigError) or error.exit_code == TrustError.exit_code
    return TrustError.exit_code if is_of_trust else CheckFailed.exit_code


def together(checks: Iterable[Check]) -> Answer:
    """What several checks come to: one that fails decides, then one that cannot be told; none at all cannot be told."""
    found = [check.answer for check in checks]
    if not found:
        return Answer.CANNOT_TELL
    worst_first = (Answer.FAILS, Answer.CANNOT_TELL, Answer.HOLDS)
    return min(found, key=worst_first.index)
