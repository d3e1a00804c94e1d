"""One file that was handed over: what it holds, or why it holds nothing; read once, of a bounded size, in one way.

A file that is not there is no failure: nothing can be told from it. A file that is there and cannot be read is one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

from common.errors import CannotTell, CheckFailed, WardroundError

T = TypeVar("T")
MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Part(Generic[T]):
    """A file and what it holds.

    Attributes:
        path: The file.
        value: What it holds; None where it could not be read.
        error: Why; None where it could.
    """

    path: Path
    value: T | None
    error: WardroundError | None

    def get(self) -> T:
        """What it holds.

        Raises:
            CannotTell: It was not handed over.
            WardroundError: It cannot be read.
        """
        if self.value is None:
            raise self.error or CannotTell(f"{self.path}: not handed over")
        return self.value

    def needed(self) -> T:
        """What it holds, for a check of something else: that this file is bad is another check's to say.

        Raises:
            CannotTell: It was not handed over, or cannot be read.
        """
        if self.value is None:
            missing = self.error is None or isinstance(self.error, CannotTell)
            raise CannotTell(f"{self.path}: {'not handed over' if missing else 'cannot be used, as is said of it'}")
        return self.value


def part_of(path: Path, read: Callable[[Path], T], *, most_bytes: int) -> Part[T]:
    """Read a file.

    Args:
        path: The file.
        read: Reads it; its errors name the file.
        most_bytes: A larger one is another file, and is not read.
    """
    try:
        if not path.is_file():
            raise CannotTell(f"{path}: not handed over")
        if path.stat().st_size > most_bytes:
            raise CheckFailed(f"{path}: has more than {most_bytes // MIB} MiB, as no such file has; it is another file")
        return Part(path=path, value=read(path), error=None)
    except OSError as error:
        return Part(path=path, value=None, error=CheckFailed(f"{path}: cannot be read ({error.strerror})"))
    except WardroundError as error:
        return Part(path=path, value=None, error=error)


def read_json(path: Path) -> Any:  # noqa: ANN401 - any JSON value
    """The JSON value in a file; NaN and infinity are none.

    Raises:
        CheckFailed: It is empty, cut short, damaged, or holds a number that is none.
    """
    try:
        return json.loads(path.read_bytes(), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise CheckFailed(f"{path}: is empty, cut short or damaged; ask for it again") from error


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        CheckFailed: It holds none.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise CheckFailed(f"{path}: holds no JSON object; ask for it again")
    return value


def read_rounds(path: Path) -> list[dict[str, Any]]:
    """The rounds in `rounds.jsonl`: who was asked, admitted and dropped, one line each.

    Raises:
        CheckFailed: A line is damaged, or is no round; the first one is named.
    """
    rounds = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            record = json.loads(line, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise CheckFailed(f"{path}: line {number}: is cut short or damaged; ask for it again") from error
        if not _is_round(record):
            raise CheckFailed(f"{path}: line {number}: is no round; it is damaged or newer")
        rounds.append(record)
    return rounds


def _no_number(text: str) -> NoReturn:
    raise ValueError(text)


def _is_round(record: Any) -> bool:  # noqa: ANN401 - any JSON value
    return (
        isinstance(record, Mapping)
        and type(record.get("round")) is int
        and all(_are_texts(record.get(name)) for name in ("asked", "admitted"))
        and isinstance(record.get("dropped"), Mapping)
        and all(isinstance(reason, str) for reason in record["dropped"].values())
        and isinstance(record.get("outcome"), str)
    )


def _are_texts(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    return isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(text, str) for text in value)
