"""The hospital's own list of what was asked on its page: when, by whom, and what; never the words or the picture.

It stays in the state folder. Who came by the link has no name there; who came through the hospital's proxy has the one
that the proxy gave.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from client.page.asked import Asked
from client.search.desk import local_now
from client.search.own_list import add_line

ASKED_FILE = "asked.jsonl"
_UNLESS = "nothing is shown without its line"


class AskedList:
    """Adds to the list of a hospital.

    Args:
        state_folder: The hospital's.
        now: The time, with the hospital's time zone.
    """

    def __init__(self, state_folder: Path, *, now: Callable[[], datetime] = local_now) -> None:
        self._path = state_folder / ASKED_FILE
        self._now = now

    def note_search(self, user: str, asked: Asked) -> None:
        """Somebody searches; the line is on the disk when this returns.

        Raises:
            TrustError: It cannot be written.
        """
        self._add(user, "search", by="picture" if asked.picture else "words", alone=asked.alone)

    def note_where(self, user: str, handle: str) -> None:
        """Somebody asks where a study agrees; the line is on the disk when this returns.

        Raises:
            TrustError: It cannot be written.
        """
        self._add(user, "where", handle=handle)

    def _add(self, user: str, what: str, **more: object) -> None:
        add_line(self._path, {"who": user or None, "what": what, **more}, now=self._now(), unless=_UNLESS)
