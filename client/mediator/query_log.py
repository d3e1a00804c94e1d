"""The hospital's record of its own queries: what was planned, checked, refused and shown, and why; signed and chained.

Each query is one line of canonical JSON in `queries.jsonl`, and one entry of an audit log beside it
(`common/evidence/audit_log.py`) that holds the line's digest: who changes, removes or exchanges a line is found, and
the entry is named. The words of a query are in it only
where the hospital's policy keeps them; a plan names characters, not words.

The page and the command line each keep a log of their own below `queries/` in the state folder, because a log has one
writer. A record is on the disk before its hits are shown.

Energy is an estimate, and says so: the seconds of processor time that the query took, times `WATTS`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from client.mediator.own_sure import HitSure
from client.mediator.understood import Understood
from client.mediator.validate import Judged
from client.state_folder import KEY_FILE
from common.canonical import canonical_json, digest
from common.errors import TrustError
from common.evidence.audit_log import AuditLog
from common.evidence.log_entries import Kind
from common.evidence.log_files import read_log
from common.files import sha256_hex
from common.trust.keys import SigningKey

QUERIES_FOLDER, RECORDS_FILE = "queries", "queries.jsonl"
WATTS = 10.0
"""That one busy processor core is taken to draw: between 5 and 20 in servers and workstations. Not measured here."""


@dataclass(frozen=True, kw_only=True)
class ShownHit:
    """A hit that was shown.

    Attributes:
        handle: The study of this hospital.
        distance: Bits apart.
        judged: What the plan's rules say of it.
        told: How sure it was said to be.
    """

    handle: str
    distance: int
    judged: tuple[Judged, ...] = ()
    told: HitSure = field(default_factory=HitSure)


def record_of(
    understood: Understood,
    shown: Sequence[ShownHit],
    *,
    model: str,
    user: str,
    alone: bool,
    cpu_seconds: float,
    keep_words: bool,
    plan_relevance: str = "",
) -> dict[str, Any]:
    """What is kept of a query.

    Args:
        understood: What was made of its words.
        shown: The own hits that are about to be shown, in their order.
        model: Digest of the model that made the code.
        user: Who asked, as the hospital's proxy names them; "" where nobody is named.
        alone: Whether this hospital's studies alone were searched.
        cpu_seconds: Processor time of the query.
        keep_words: Whether its words are kept (`mediator.keep_words` in site.yaml).
        plan_relevance: Digest of the file that told how sure the hits are by their rank; "" where none did.
    """
    made = understood.mediated
    plan = None if understood.plan is None else _without_words(understood.plan.as_json())
    return {
        "plan": plan,
        "plan_digest": plan and digest(plan),
        "taken_out": sorted(understood.dropped),
        "flags": list(understood.flags),
        "proposer": made.proposer,
        "checks": list(made.checks),
        "refusals": [{"check": one.check, "field": one.field, "reason": one.reason} for one in made.refusals],
        "shown": [
            {
                "handle": one.handle,
                "distance": one.distance,
                "reasons": [[str(rule.verdict), rule.words] for rule in one.judged],
                **one.told.as_json(),
            }
            for one in shown
        ],
        "language_model": made.model_digest,
        "guard_text": made.guard_digest,
        "encoder": model,
        "plan_relevance": plan_relevance,
        "user": user,
        "alone": alone,
        "cpu_milliseconds": round(1000 * cpu_seconds),
        "watts": WATTS,
        "words": understood.words if keep_words else None,
        "joules": round(cpu_seconds * WATTS, 3),
    }


def _without_words(plan: Mapping[str, Any]) -> dict[str, Any]:
    """A plan without the one field that holds the words."""
    return {name: value for name, value in plan.items() if name != "text"}


class QueryLog:
    """One writer's log; it is opened by the first query, and stays open.

    Args:
        state_folder: The hospital's.
        writer: "page" or "command".
        owner: The hospital's name.
    """

    def __init__(self, state_folder: Path, *, writer: str, owner: str) -> None:
        self._state_folder = state_folder
        self._folder = state_folder / QUERIES_FOLDER / writer
        self._owner = owner
        self._open: AuditLog | None = None

    def note(self, record: Mapping[str, Any]) -> str:
        """Write a query down; it is on the disk when this returns.

        Returns:
            The record's digest, by which feedback names it.

        Raises:
            TrustError: The log does not hold, another process has it open, or the disk refuses it.
        """
        log, line, path = self._opened(), canonical_json(record), self._folder / RECORDS_FILE
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "ab") as file:
                file.write(line + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise TrustError(
                f"{path}: cannot be written ({error.strerror}); no hit is shown without its record"
            ) from error
        name = sha256_hex(line)
        log.append(Kind.QUERY, content=name, proposer=record["proposer"] or "none", shown=len(record["shown"]))
        return name

    def _opened(self) -> AuditLog:
        if self._open is None:
            key = SigningKey.load(self._state_folder / KEY_FILE)
            self._open = AuditLog(self._folder, owner=self._owner, key=key)
            _cut_torn_line(self._folder / RECORDS_FILE)
        return self._open

    def close(self) -> None:
        """Let another process open it."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _cut_torn_line(path: Path) -> None:
    """Cut off a last line that a crash left without its end: it was never shown, and has no entry.

    Raises:
        TrustError: The disk refuses it.
    """
    try:
        content = path.read_bytes() if path.exists() else b""
        if content and not content.endswith(b"\n"):
            os.truncate(path, content.rfind(b"\n") + 1)
    except OSError as error:
        raise TrustError(
            f"{path}: cannot be read or written ({error.strerror}); mend that, and search again"
        ) from error


def check_records(folder: Path) -> str:
    """Hold the records of one log against its entries.

    Returns:
        What was found, in words.

    Raises:
        ConfigError: There is no log.
        TrustError: An entry's record is missing, changed or out of its place, or a record has no entry; it is named.
    """
    entries = [entry for entry in read_log(folder).trail if entry.kind is Kind.QUERY]
    path = folder / RECORDS_FILE
    try:
        content = path.read_bytes() if path.exists() or entries else b""
    except OSError as error:
        raise TrustError(f"{path}: cannot be read ({error.strerror}); put a copy back") from error
    # A record goes before its entry, so that a crash leaves records that were never shown; they do not count.
    digests = [sha256_hex(line) for line in content.split(b"\n")]
    at = 0
    for entry in entries:
        found = next((place for place in range(at, len(digests)) if digests[place] == entry.content), None)
        if found is None:
            raise TrustError(
                f"{path}: the record of entry {entry.number} of its log is missing, was changed or is out of place; "
                "put a copy back"
            )
        at = found + 1
    return f"{len(entries)} queries, each with its record"
