"""The hospital's own list of handles that were opened: when, which study, and why. It stays in the state folder."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path

from common.errors import TrustError

OPENED_FILE = "opened.jsonl"


def note_opened(state_folder: Path, *, study: str, told: str, reason: str, now: datetime) -> None:
    """Add a line; it is on the disk when this returns.

    Raises:
        TrustError: The disk refuses it.
    """
    path = state_folder / OPENED_FILE
    line = json.dumps({"time": now.isoformat(timespec="seconds"), "study": study, "handle": told, "reason": reason})
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise TrustError(
            f"{path}: cannot be written ({error.strerror}); no handle is opened without its line"
        ) from error
