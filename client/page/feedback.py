"""Whether a hit was relevant, as whoever asked says by hand: kept in the hospital's state folder, and nowhere else.

A line names the query by the digest of its record (`client/mediator/query_log.py`), so that plan and rules are found
again there, and the study by its handle. It is for training on public or the hospital's own data; no release, question
or answer reads it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from client.search.desk import local_now
from client.search.index import SearchIndex
from client.search.own_list import add_line
from common.errors import ConfigError

FEEDBACK_FILE = "feedback.jsonl"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SAYS = {"relevant": True, "not": False}


@dataclass(frozen=True, kw_only=True)
class Feedback:
    """What somebody says of a hit.

    Attributes:
        query: Digest of the query's record.
        handle: Of the study.
        study: What the study is called here.
        relevant: Whether it answers the query.
    """

    query: str
    handle: str
    study: str
    relevant: bool


def feedback_in(values: Mapping[str, str], index: SearchIndex) -> Feedback:
    """What a form says.

    Raises:
        ConfigError: It names no query, or neither of the two verdicts.
        TrustError: It names no study of this hospital.
    """
    query, (verdict, _, handle) = values.get("query", ""), values.get("says", "").partition(" ")
    if not _DIGEST.fullmatch(query) or verdict not in _SAYS:
        raise ConfigError("This says nothing of a hit; use the buttons below one.")
    return Feedback(query=query, handle=handle, study=index.study_of(handle), relevant=_SAYS[verdict])


def note_feedback(
    state_folder: Path, feedback: Feedback, *, user: str, now: Callable[[], datetime] = local_now
) -> None:
    """Keep it; the line is on the disk when this returns.

    Raises:
        TrustError: It cannot be written.
    """
    entry = {"who": user or None, "query": feedback.query, "handle": feedback.handle, "relevant": feedback.relevant}
    add_line(state_folder / FEEDBACK_FILE, entry, now=now(), unless="nothing was kept")
