"""The files of an audit log, and how they are read without touching them.

In the log's folder lie `log.jsonl`, one line an entry, and `given_head.json`, the last head that was given away. The
log must reach that head: an older copy that was put back in its place would otherwise grow into a second past.

A last line without an end is what a crash in the midst of writing leaves. It was never vouched for to anybody, so it
does not count. Whatever else does not fit is an error.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from common.canonical import canonical_json
from common.errors import ConfigError, TrustError
from common.evidence.log_heads import SignedHead
from common.evidence.log_trail import Trail
from common.files import write_atomically

LOG_FILE = "log.jsonl"
GIVEN_HEAD_FILE = "given_head.json"
MOST_BYTES = 1 << 30
"""Greatest size of a log that is read: millions of entries, and no more memory than a machine has."""


@dataclass(frozen=True, kw_only=True)
class StoredLog:
    """A log as it lies in its folder, checked.

    Attributes:
        trail: Its entries.
        torn_bytes: Length of a last line that a crash cut short; 0 where there is none.
        given: The last head that was given away; None where none was.
    """

    trail: Trail
    torn_bytes: int
    given: SignedHead | None


def is_log(folder: Path) -> bool:
    """Whether a folder holds an audit log."""
    return (folder / LOG_FILE).is_file()


def read_log(folder: Path) -> StoredLog:
    """A log, every entry of it checked; the files are not touched, and another process may be appending.

    Raises:
        ConfigError: There is none.
        TrustError: An entry is damaged, forged, missing or out of place; the first such entry is named.
    """
    path = folder / LOG_FILE
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; name the folder of an audit log")
    given = read_given_head(folder)  # before the entries: a head that is given meanwhile is not held against them
    try:
        if path.stat().st_size > MOST_BYTES:
            raise TrustError(f"{path}: has more than {MOST_BYTES >> 20} MiB, as no log has; it is another file")
        content = path.read_bytes()
    except OSError as error:
        raise TrustError(f"{path}: cannot be read ({error.strerror})") from error
    stored = stored_log(path, content, given)
    if len(stored.trail) == 0:
        raise TrustError(f"{path}: entry 1: is missing")
    return stored


def stored_log(path: Path, content: bytes, given: SignedHead | None) -> StoredLog:
    """What a log's file holds, checked.

    Raises:
        TrustError: As `read_log`; an empty file is no error here.
    """
    *lines, torn = content.split(b"\n")
    try:
        trail = Trail(lines)
        if given is not None:
            trail.check_against([given.content], holder=f"{GIVEN_HEAD_FILE} beside it")
    except TrustError as error:
        raise TrustError(f"{path}: {error}") from error
    return StoredLog(trail=trail, torn_bytes=len(torn), given=given)


def read_given_head(folder: Path) -> SignedHead | None:
    """The last head that was given away, its signature not yet checked; None where there is no such file.

    Raises:
        TrustError: The file is damaged or cannot be read.
    """
    path = folder / GIVEN_HEAD_FILE
    try:
        return SignedHead.from_json(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TrustError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, TypeError, TrustError, RecursionError) as error:
        raise TrustError(f"{path}: is damaged; restore it from any backup, an older one will do") from error


def write_given_head(folder: Path, head: SignedHead) -> None:
    """Remember a head, on the disk before this returns and before the head leaves.

    Raises:
        OSError: It cannot be written.
    """
    write_atomically(folder / GIVEN_HEAD_FILE, canonical_json(head.as_json()) + b"\n")
