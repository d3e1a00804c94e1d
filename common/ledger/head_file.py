"""The head file beside a ledger: the last head that was on the disk for certain, so that a rolled-back copy shows.

It is written after each entry is, so it is never ahead of the ledger; a crash between the two leaves it behind, which
does no harm. A ledger without the entry that its head file names is an older copy, or has lost its end. Who restores
both from one backup is not found out here: only a head that someone else kept can show that.
"""

from __future__ import annotations

import json
from pathlib import Path

from common.canonical import canonical_json
from common.errors import LedgerError
from common.files import write_atomically
from common.ledger.books import Books, Head
from common.ledger.entries import check_signature


def head_file_of(ledger: Path) -> Path:
    """Where a ledger's head file lies."""
    return ledger.with_name(f"{ledger.name}.head")


def write_head(ledger: Path, head: Head) -> None:
    """Remember a head, on the disk before this returns; an older one than is remembered, by another process, is not.

    Raises:
        LedgerError: What is there is damaged.
        OSError: It cannot be written.
    """
    remembered = read_head(ledger)
    if remembered is not None and remembered.sequence >= head.sequence:
        return
    said = {"sequence": head.sequence, "digest": head.digest, "signature": head.signature.hex()}
    write_atomically(head_file_of(ledger), canonical_json(said) + b"\n")


def read_head(ledger: Path) -> Head | None:
    """The remembered head, its signature not yet checked; None where there is no head file.

    Raises:
        LedgerError: The file is damaged or cannot be read.
    """
    path = head_file_of(ledger)
    try:
        said = json.loads(path.read_bytes())
        return Head(
            sequence=int(said["sequence"]), digest=str(said["digest"]), signature=bytes.fromhex(said["signature"])
        )
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LedgerError(f"{path}: cannot be read ({error.strerror}); nothing is released until it can") from error
    except (ValueError, KeyError, TypeError) as error:
        raise LedgerError(f"{path}: is damaged; restore it from any backup, an older one will do") from error


def check_against_head_file(ledger: Path, books: Books, head: Head) -> None:
    """Return where the books hold the entry that the head file names.

    Raises:
        LedgerError: They do not: the ledger was rolled back or cut, or the head file is another ledger's.
    """
    try:
        check_signature(head.digest, head.signature, books.public_key)
    except LedgerError as error:
        raise LedgerError(f"{head_file_of(ledger)}: {error}") from error
    if books.digest_of(head.sequence) != head.digest:
        raise LedgerError(
            f"{ledger}: entry {min(head.sequence, len(books) + 1)} is missing or another than its head file "
            f"remembers (entry {head.sequence}); an older copy was put in its place, or its end was cut: "
            "restore the newest copy, nothing is released until then"
        )
