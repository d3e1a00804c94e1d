"""A list that a hospital keeps for itself in its state folder: a line for each time that something was looked up."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from common.errors import TrustError


def add_line(path: Path, entry: Mapping[str, object], *, now: datetime, unless: str) -> None:
    """Add a line; it is on the disk when this returns.

    Args:
        path: The list; made, for its owner alone, where there is none.
        entry: What is kept, beside the time.
        now: The time, with the hospital's time zone.
        unless: What is not done without the line, in the hospital's words.

    Raises:
        TrustError: The disk refuses it.
    """
    line = json.dumps({"time": now.isoformat(timespec="seconds"), **entry})
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise TrustError(f"{path}: cannot be written ({error.strerror}); {unless}") from error
