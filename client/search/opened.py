"""The hospital's own list of handles that were opened: when, which study, and why. It stays in the state folder."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from client.search.own_list import add_line

OPENED_FILE = "opened.jsonl"


def note_opened(state_folder: Path, *, study: str, told: str, reason: str, now: datetime) -> None:
    """Add a line; it is on the disk when this returns.

    Raises:
        TrustError: The disk refuses it.
    """
    entry = {"study": study, "handle": told, "reason": reason}
    add_line(state_folder / OPENED_FILE, entry, now=now, unless="no handle is opened without its line")
