"""Entries of an audit log: what may be written, and the one way in which it is.

An entry says what happened, when, and the digest of what it happened to. It never holds the thing itself: each kind
lists its fields, and a field is a whole number or a short word without spaces (a name, a code, a digest), so that
neither a patient nor the text of an exception has room in it.

| kind | written by | content is the digest of |
| --- | --- | --- |
| `log_opened` | both, first | - |
| `members` | server | the member list's file |
| `bundle_approved` | site | the signed approval |
| `run_opened` | both | the run's configuration file |
| `round_opened` | server | the model that was sent |
| `update_admitted` | server | the update |
| `update_dropped` | server | - |
| `release` | site | the record that left |
| `refusal` | site | - |
| `question_passed` | server | the question of a hospital that was passed on |
| `question_answered` | site | the question that was answered |
| `questions_refused` | site | - |
| `query` | site | the record of a query of its own |
| `checkpoint` | server | the state file |
| `head_received` | both | - |
| `run_closed` | both | the last manifest (server), the last reply (site) |
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from common.canonical import canonical_json
from common.errors import TrustError
from common.files import sha256_hex
from common.trust.names import is_name

FORMAT = 1
"""Version of what is described here; a log of another one is refused."""

BEFORE_THE_FIRST = "0" * 64
"""What stands in the first entry for the digest of the one before."""

Value: TypeAlias = "str | int | list[str] | None"


class Kind(StrEnum):
    """What happened."""

    LOG_OPENED = "log_opened"
    MEMBERS = "members"
    BUNDLE_APPROVED = "bundle_approved"
    RUN_OPENED = "run_opened"
    ROUND_OPENED = "round_opened"
    UPDATE_ADMITTED = "update_admitted"
    UPDATE_DROPPED = "update_dropped"
    RELEASE = "release"
    REFUSAL = "refusal"
    QUESTION_PASSED = "question_passed"
    QUESTION_ANSWERED = "question_answered"
    QUESTIONS_REFUSED = "questions_refused"
    QUERY = "query"
    CHECKPOINT = "checkpoint"
    HEAD_RECEIVED = "head_received"
    RUN_CLOSED = "run_closed"


_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:+-]{0,127}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def is_word(value: Value) -> bool:
    """Whether a value fits a field that holds a short word."""
    return isinstance(value, str) and _WORD.fullmatch(value) is not None


def _is_name(value: Value) -> bool:
    return isinstance(value, str) and is_name(value)


def _is_name_or_none(value: Value) -> bool:
    return value is None or _is_name(value)


def _is_digest(value: Value) -> bool:
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def _is_absent(value: Value) -> bool:
    return value is None


def _is_digest_or_none(value: Value) -> bool:
    return value is None or _is_digest(value)


def _is_count(value: Value) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _are_names(value: Value) -> bool:
    return isinstance(value, list) and all(map(_is_name, value))


def _are_digests(value: Value) -> bool:
    return isinstance(value, list) and all(map(_is_digest, value))


Form: TypeAlias = Callable[[Value], bool]

_SHARED: dict[str, Form] = {"number": _is_count, "time": is_word, "previous": _is_digest}
_OF_RUN: dict[str, Form] = {"run": _is_digest}
_OF_ROUND: dict[str, Form] = {**_OF_RUN, "round": _is_count}

_FIELDS: dict[Kind, dict[str, Form]] = {
    Kind.LOG_OPENED: {"owner": _is_name, "public_key": _is_digest, "format": _is_count},
    Kind.MEMBERS: {"version": _is_count},
    Kind.BUNDLE_APPROVED: {**_OF_RUN, "bundle": _is_digest},
    Kind.RUN_OPENED: _OF_RUN,
    Kind.ROUND_OPENED: {**_OF_ROUND, "sites": _are_names},
    Kind.UPDATE_ADMITTED: {**_OF_ROUND, "site": _is_name},
    Kind.UPDATE_DROPPED: {**_OF_ROUND, "site": _is_name, "reason": is_word},
    Kind.RELEASE: {**_OF_ROUND, "release": is_word, "mechanism": is_word, "ledger_entry": _is_digest_or_none},
    Kind.REFUSAL: {**_OF_ROUND, "reason": is_word},
    Kind.QUESTION_PASSED: {**_OF_RUN, "asker": _is_name, "public_key": _is_digest, "sites": _are_names},
    Kind.QUESTION_ANSWERED: {**_OF_RUN, "asker": _is_name},
    Kind.QUESTIONS_REFUSED: {
        **_OF_RUN,
        "reason": is_word,
        "asker": _is_name_or_none,
        "since": is_word,
        "times": _is_count,
    },
    Kind.QUERY: {"proposer": is_word, "shown": _is_count},
    Kind.CHECKPOINT: _OF_ROUND,
    Kind.HEAD_RECEIVED: {
        "owner": _is_name,
        "public_key": _is_digest,
        "log": _is_digest,
        "size": _is_count,
        "root": _is_digest,
        "digest": _is_digest,
        "time": is_word,
        "signature": is_word,
        "known": _is_count,
        "proof": _are_digests,
    },
    Kind.RUN_CLOSED: {**_OF_RUN, "rounds": _is_count, "status": is_word},
}
"""Every field of a kind, and what it may hold. `run` is the digest of the run's configuration."""

_WITHOUT_CONTENT = {Kind.LOG_OPENED, Kind.UPDATE_DROPPED, Kind.REFUSAL, Kind.QUESTIONS_REFUSED, Kind.HEAD_RECEIVED}


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """One entry.

    Attributes:
        number: From 1, without a gap.
        time: When it was written (ISO 8601, UTC); for the reader, no rule depends on it.
        previous: Digest of the entry before, or `BEFORE_THE_FIRST`.
        kind: What happened.
        content: SHA-256, in hexadecimal, of what it happened to; None for a kind that has none.
        fields: As the kind lists them.

    Raises:
        TrustError: A field is missing, unknown or not of its form.
    """

    number: int
    time: str
    previous: str
    kind: Kind
    content: str | None
    fields: Mapping[str, Value]

    def __post_init__(self) -> None:
        forms = {**_SHARED, "content": _is_absent if self.kind in _WITHOUT_CONTENT else _is_digest}
        _check_forms({name: getattr(self, name) for name in forms}, forms, self.kind)
        _check_forms(self.fields, _FIELDS[self.kind], self.kind)

    def as_json(self) -> dict[str, Any]:
        """The entry as a JSON object."""
        return {**vars(self), "kind": str(self.kind), "fields": dict(self.fields)}

    def as_bytes(self) -> bytes:
        """Canonical JSON; the entry's digest is SHA-256 of it, and its leaf in the Merkle tree hashes it."""
        return canonical_json(self.as_json())


def entry_from_json(value: Mapping[str, Any]) -> LogEntry:
    """The entry that `as_json` wrote.

    Raises:
        TrustError: A field is missing, unknown or not of its form.
        ValueError, TypeError, KeyError: The value is none.
    """
    said = dict(value)
    return LogEntry(kind=Kind(said.pop("kind")), **said)


def _check_forms(said: Mapping[str, Value], forms: Mapping[str, Form], kind: Kind) -> None:
    for name in {**forms, **said}:
        if name not in forms or name not in said or not forms[name](said[name]):
            raise TrustError(f"{name}: missing, unknown or of another form in an entry of kind {kind}")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the file: an entry, and what makes it the log's signed head.

    Attributes:
        entry: The entry.
        root: Root of the Merkle tree over all entries up to this one.
        signature: The owner's, of the head that this makes.
    """

    entry: LogEntry
    root: bytes
    signature: bytes

    @property
    def digest(self) -> str:
        """The entry's digest."""
        return sha256_hex(self.entry.as_bytes())

    def as_bytes(self) -> bytes:
        """The line, without its end."""
        said = {"entry": self.entry.as_json(), "root": self.root.hex(), "signature": self.signature.hex()}
        return canonical_json(said)


def line_from_bytes(content: bytes) -> Line:
    """The line that `as_bytes` wrote.

    Raises:
        TrustError: The bytes are no line, or not the one way in which it is written.
    """
    try:
        value = json.loads(content)
        line = Line(
            entry=entry_from_json(value["entry"]),
            root=bytes.fromhex(value["root"]),
            signature=bytes.fromhex(value["signature"]),
        )
        is_same = line.as_bytes() == content
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise TrustError("cannot be read as an entry; it is damaged or newer") from error
    if not is_same:
        raise TrustError("is not written in canonical form; it is damaged or newer")
    return line
