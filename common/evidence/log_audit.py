"""What audit logs prove by themselves, and what they prove of each other through the heads that they exchanged.

Each check is one finding; one that fails does not keep the others from being looked at. What a broken log says is not
used further. Nothing is asked of a network, and no file is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from common.errors import ConfigError, TrustError, WardroundError
from common.evidence.log_files import GIVEN_HEAD_FILE, LOG_FILE, StoredLog, is_log, read_log
from common.evidence.log_trail import Counterpart
from common.trust.keys import PublicKey


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check.

    Attributes:
        subject: What was looked at.
        says: What was found, in words.
        path: The file that was looked at, or the folder where no one file was.
        error: Why it does not hold; None where it does.
    """

    subject: str
    says: str
    path: Path
    error: WardroundError | None = None

    @classmethod
    def of(cls, subject: str, path: Path, check: Callable[[], str]) -> Finding:
        """What a check says, or why it fails."""
        try:
            return cls(subject=subject, says=check(), path=path)
        except WardroundError as error:
            return cls(subject=subject, says=str(error), path=path, error=error)


@dataclass(frozen=True, kw_only=True)
class LogEvidence:
    """What was found of some logs.

    Attributes:
        findings: The checks, in their order.
        logs: The logs that hold by themselves, by folder.
    """

    findings: tuple[Finding, ...]
    logs: Mapping[Path, StoredLog]


def raise_first(findings: Sequence[Finding]) -> None:
    """Return where everything holds.

    Raises:
        WardroundError: The first check that failed; a failure of trust before any other.
    """
    errors = [finding.error for finding in findings if finding.error is not None]
    if errors:
        raise max(errors, key=lambda error: error.exit_code)


def audit_logs(
    folders: Sequence[Path], *, known: Sequence[PublicKey] = (), names: Mapping[Path, str] | None = None
) -> LogEvidence:
    """Check audit logs, and the heads that they hold of each other.

    Args:
        folders: Each holds one log.
        known: Keys of owners, from elsewhere than the logs. Where there are any, each log must be under one of them.
            Without, a log that somebody wrote anew under a key of their own looks as good as the owner's.
        names: What to call a folder's log; the folder's own name where left out.

    Raises:
        ConfigError: A folder holds no log.
    """
    missing = next((folder for folder in folders if not is_log(folder)), None)
    if missing is not None:
        raise ConfigError(f"{missing / LOG_FILE}: no such file; name the folder of an audit log")
    logs: dict[Path, StoredLog] = {}
    called = {folder: (names or {}).get(folder, folder.name) for folder in folders}
    own = [
        Finding.of(f"log {name}", folder / LOG_FILE, partial(_check_log, folder, logs, known))
        for folder, name in called.items()
    ]
    return LogEvidence(findings=(*own, *_held_heads(logs, called)), logs=logs)


def _check_log(folder: Path, logs: dict[Path, StoredLog], known: Sequence[PublicKey]) -> str:
    stored = read_log(folder)
    owner = stored.trail.owner
    if known and owner.public_key not in known:
        raise TrustError(f"{folder / LOG_FILE}: entry 1: the log of {owner.owner} is under another key than given")
    logs[folder] = stored
    said = f"of {owner.owner}: {_entries(len(stored.trail))}, all hold"
    if stored.given is None:
        said += f"; no {GIVEN_HEAD_FILE}: its end may have been cut"
    elif stored.given.content.size < len(stored.trail):
        said += f"; from entry {stored.given.content.size + 1} on, nobody else was told yet"
    if stored.torn_bytes:
        said += f"; a last line of {stored.torn_bytes} bytes was cut short and does not count"
    return said


def _held_heads(logs: Mapping[Path, StoredLog], called: Mapping[Path, str]) -> Iterator[Finding]:
    for folder, holder in logs.items():
        for counterpart in holder.trail.received:
            subject = f"heads of {counterpart.owner} in log {called[folder]}"
            yield Finding.of(subject, folder / LOG_FILE, partial(_check_held, folder, counterpart, logs))


def _check_held(folder: Path, counterpart: Counterpart, logs: Mapping[Path, StoredLog]) -> str:
    """Hold the heads that one log has of somebody against that somebody's own log, where it is here.

    A log in the name of that somebody, under a key that the holder never met, is not theirs.
    """
    received = logs[folder].trail.received
    heads = [head.content for head in received[counterpart]]
    theirs = {path: log.trail for path, log in logs.items() if log.trail.owner.owner == counterpart.owner}
    for path, trail in theirs.items():
        try:
            if trail.owner == counterpart:
                trail.check_against(heads, holder=f"the log in {folder}")
            elif trail.owner not in received:
                raise TrustError(f"entry 1: is signed with another key than the log in {folder} knows")  # noqa: TRY301
        except TrustError as error:
            raise TrustError(f"{path / LOG_FILE}: {error}") from error
    said = f"{len(heads)} held, each extends the one before"
    is_here = any(trail.owner == counterpart for trail in theirs.values())
    return f"{said}; {'their log has them all' if is_here else 'their log is not here, or does not hold'}"


def _entries(count: int) -> str:
    return f"{count} {'entry' if count == 1 else 'entries'}"
