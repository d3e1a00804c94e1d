"""Whether a ledger remembers all that the hospital's own audit log says it paid for.

A ledger's head file finds an older copy out; it goes when the whole folder of the ledger goes, and is put back with it
from the same backup. The audit log is another file, and notes with each release the ledger entry that paid for it. So:

    every entry that a release in the log names is in the ledger, or something in it stands in that entry's place.

Entries are chained, so a ledger that has the last of them has all that came before. What was reserved and never
released is not in the log; nothing of it left, so forgetting it tells nobody anything.

A hospital begins its log when it joins. A member without one has lost the proof too, and so all that there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from client.state_folder import ADMISSION_FILE, LOG_FOLDER
from common.errors import LedgerError, TrustError
from common.evidence.log_entries import Kind, LogEntry
from common.evidence.log_files import is_log, read_log
from common.files import sha256_hex
from common.ledger.books import Books


@dataclass(frozen=True, kw_only=True)
class PaidRelease:
    """A release that a ledger entry paid for, as the audit log notes it.

    Attributes:
        entry: Digest of the ledger entry.
        run: Digest of the run's configuration.
        round_number: The round.
        release: Name of what left.
    """

    entry: str
    run: str
    round_number: int
    release: str


ALL_OF_A_LOST_LOG = PaidRelease(
    entry=sha256_hex(b"all of a lost log"), run=sha256_hex(b"runs of a lost log"), round_number=0, release="everything"
)
"""What stands for releases that no log proves any more."""


def paid_releases(entries: Iterable[LogEntry]) -> list[PaidRelease]:
    """The releases in a log that cost privacy, in their order."""
    return [
        PaidRelease(
            entry=str(entry.fields["ledger_entry"]),
            run=str(entry.fields["run"]),
            round_number=int(str(entry.fields["round"])),
            release=str(entry.fields["release"]),
        )
        for entry in entries
        if entry.kind is Kind.RELEASE and entry.fields["ledger_entry"] is not None
    ]


def releases_in(state: Path) -> list[PaidRelease]:
    """The releases in the log of a state folder, which another process may be appending to.

    Returns:
        `ALL_OF_A_LOST_LOG` where the log of a member is gone; nothing where no log was begun yet.

    Raises:
        TrustError: The log does not hold.
    """
    if is_log(state / LOG_FOLDER):
        return paid_releases(read_log(state / LOG_FOLDER).trail)
    return [ALL_OF_A_LOST_LOG] if (state / ADMISSION_FILE).exists() else []


def check_has_log(state: Path) -> None:
    """Return where the log of a member is there, whatever it holds.

    Raises:
        TrustError: It is gone.
    """
    if (state / ADMISSION_FILE).exists() and not is_log(state / LOG_FOLDER):
        raise TrustError(
            f"{state / LOG_FOLDER}: the hospital's audit log is gone, and nothing proves any more what its patients "
            "have spent; put the newest log back, or give up what is left of their budget with wardround site recover"
        )


def lost_releases(books: Books, noted: Sequence[PaidRelease]) -> list[PaidRelease]:
    """The releases that a ledger knows nothing of."""
    return [release for release in noted if not books.has_paid(release.entry)]


def refuse_forgetful(path: Path, books: Books, noted: Sequence[PaidRelease]) -> None:
    """Return where a ledger remembers every release.

    Args:
        path: The ledger's file.
        books: What it holds; nothing where it is gone.
        noted: Releases in the audit log.

    Raises:
        LedgerError: It does not; the one way on is named.
    """
    lost = lost_releases(books, noted)
    if ALL_OF_A_LOST_LOG in lost:
        check_has_log(path.parent)
    if lost:
        what = "is gone" if not len(books) else "is an older copy"
        raise LedgerError(
            f"{path}: {what}: the hospital's own log notes {len(noted):,} releases that a ledger paid for, and "
            f"{len(lost):,} of them are not in it; put the newest ledger back, or charge what the log proves with "
            "wardround site recover; nothing that costs privacy is answered until then"
        )
