"""What is signed in a run folder, held together: logs, manifest, the files that it lists, and the sites' ledgers.

Left out on purpose: whether the manifest's epsilon is the ledgers'. The server counts one run, by what it asked for; a
ledger counts all runs, by what was reserved. Each is shown for itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from common.errors import CheckFailed, ConfigError, LedgerError, TrustError
from common.evidence.log_audit import Finding, LogEvidence, audit_logs
from common.evidence.log_entries import Kind
from common.evidence.log_files import LOG_FILE
from common.evidence.log_trail import Trail
from common.evidence.manifest import MANIFEST_FILE, STATE_FILE, FileDigest, Manifest, PrivateSite, read_manifest
from common.files import sha256_of_file
from common.ledger.audit import LedgerAudit, audit_ledger
from common.ledger.read import read_books
from common.trust.keys import PublicKey

LOGS_FOLDER, LEDGERS_FOLDER = "logs", "ledgers"
"""In a run folder: a folder for each owner's audit log, and the sites' ledgers."""

MOST_BYTES = 1 << 36
"""Greatest size of a file of a run that is digested: a larger one would take hours, and no run writes one."""

_PAST_THE_FIRST = frozenset({Kind.CHECKPOINT, Kind.RUN_CLOSED})
_ENDS = frozenset({Kind.RUN_OPENED, Kind.RUN_CLOSED})


@dataclass(frozen=True, kw_only=True)
class RunEvidence:
    """What was found in a run folder.

    Attributes:
        findings: The checks, in their order.
        logs: The logs.
        manifest: The manifest; None where there is none, or its signature does not hold.
        ledgers: The ledgers that hold, recomputed, by site.
    """

    findings: tuple[Finding, ...]
    logs: LogEvidence
    manifest: Manifest | None
    ledgers: Mapping[str, LedgerAudit]


def audit_run(
    folder: Path,
    *,
    known: Sequence[PublicKey] = (),
    logs: Mapping[str, Path] | None = None,
    ledgers: Mapping[str, Path] | None = None,
) -> RunEvidence:
    """Check all that is signed in a run folder.

    Args:
        folder: The run folder.
        known: Keys of logs' owners, as for `audit_logs`.
        logs: Folders of further logs, as hospitals hand them over, by what to call them.
        ledgers: Files of further ledgers, the same way.

    Raises:
        ConfigError: There is no such folder.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; name the folder of a run")
    names = {path.parent: path.parent.name for path in sorted((folder / LOGS_FOLDER).glob(f"*/{LOG_FILE}"))}
    names |= {path: name for name, path in (logs or {}).items()}
    of_logs = audit_logs(list(names), known=known, names=names)
    files = {path: path.stem for path in sorted((folder / LEDGERS_FOLDER).glob("*.sqlite3"))}
    files |= {path: name for name, path in (ledgers or {}).items()}
    audits: dict[str, LedgerAudit] = {}
    of_ledgers = [
        Finding.of(f"ledger {name}", path, partial(_check_ledger, path, audits)) for path, name in files.items()
    ]
    trails = {path / LOG_FILE: log.trail for path, log in of_logs.logs.items()}
    covered = [
        Finding.of(f"releases of {owner}", path, partial(_check_releases, trail, audits[owner]))
        for path, trail in trails.items()
        if (owner := trail.owner.owner) in audits
    ]
    if not names and not (folder / MANIFEST_FILE).exists():
        of_run, manifest = [Finding.of("run", folder, partial(_refuse_unsigned, folder))], None
    else:
        of_run, manifest = _run_findings(folder, list(trails.values()), audits)
    return RunEvidence(
        findings=(*of_logs.findings, *of_run, *of_ledgers, *covered), logs=of_logs, manifest=manifest, ledgers=audits
    )


def signer_of(folder: Path, evidence: RunEvidence) -> PublicKey:
    """The key that signed a run folder's manifest.

    Args:
        folder: The run folder.
        evidence: What was found in it.

    Raises:
        TrustError: There is no manifest, or none of the logs is its signer's.
    """
    _, trail = _signed_manifest(folder, [log.trail for log in evidence.logs.logs.values()])
    return trail.owner.public_key


def _refuse_unsigned(folder: Path) -> str:
    raise CheckFailed(
        f"{folder}: nothing is signed here but ledgers, if any: it is the run of a simulation, which signs nothing, or "
        "its logs and manifest were taken away"
    )


def _check_ledger(path: Path, ledgers: dict[str, LedgerAudit]) -> str:
    audit = audit_ledger(read_books(path))
    site = audit.books.opened.site
    ledgers[site] = audit
    if audit.overspent:
        raise CheckFailed(f"{path}: more was reserved than the budget let: {'; '.join(audit.overspent)}")
    spent = ", ".join(
        f"epsilon {account.statement.epsilon:.3f} of {account.statement.account.cohort} patients"
        for account in audit.accounts
    )
    return f"of {site}: {len(audit.books)} entries, all hold; {spent or 'nothing was reserved'}"


def _run_findings(
    folder: Path, trails: Sequence[Trail], ledgers: Mapping[str, LedgerAudit]
) -> tuple[list[Finding], Manifest | None]:
    path = folder / MANIFEST_FILE
    if not path.exists():
        return [Finding.of("manifest", path, partial(_refuse_missing, folder, trails))], None
    try:
        manifest, trail = _signed_manifest(folder, trails)
    except TrustError as error:
        return [Finding(subject="manifest", says=str(error), path=path, error=error)], None
    private = [site for site in manifest.sites if isinstance(site, PrivateSite)]
    return [
        Finding.of("manifest", path, partial(_check_manifest, folder, manifest, trail)),
        *(
            Finding.of(file.name, folder / file.name, partial(_check_file, folder, file, manifest, trail))
            for file in manifest.files
        ),
        *(
            Finding.of(f"site {site.name}", path, partial(_check_site, site, ledgers.get(site.name)))
            for site in private
        ),
    ], manifest


def _refuse_missing(folder: Path, trails: Sequence[Trail]) -> str:
    """There is none yet where the server was stopped at its first state, however often; later, one was taken away.

    The folder's run is the last one that the server's log opened: its log holds other runs too.
    """
    for trail in trails:
        opened = next((entry for entry in reversed(trail) if entry.kind is Kind.RUN_OPENED), None)
        run = opened.fields["run"] if opened is not None else None
        past = [entry for entry in trail if entry.kind in _PAST_THE_FIRST and run in (None, entry.fields["run"])]
        if any(entry.kind is Kind.RUN_CLOSED or entry.fields["round"] != 0 for entry in past):
            raise TrustError(f"{folder / MANIFEST_FILE}: is missing, and the log of {trail.owner.owner} is past it")
    return "none was written yet"


def _signed_manifest(folder: Path, trails: Sequence[Trail]) -> tuple[Manifest, Trail]:
    """The manifest, and the log of whoever signed it.

    Raises:
        TrustError: There is none, or none of the logs is its signer's.
    """
    refused: TrustError | None = None
    for trail in trails:
        try:
            return read_manifest(folder, trail.owner.public_key), trail
        except TrustError as error:
            refused = error
    raise refused or TrustError(f"{folder / MANIFEST_FILE}: no log here holds, so nobody is known who could sign it")


def _check_manifest(folder: Path, manifest: Manifest, trail: Trail) -> str:
    """Its head is the log's, and the log closed the run with this manifest, if it did; a run may be resumed after."""
    path = folder / MANIFEST_FILE
    trail.check_against([manifest.head], holder=str(path))
    last = next(
        (entry for entry in reversed(trail) if entry.kind in _ENDS and entry.fields["run"] == manifest.run), None
    )
    is_closed = last is not None and last.kind is Kind.RUN_CLOSED
    if last is not None and is_closed and last.content != sha256_of_file(path):
        raise TrustError(f"{path}: is another than entry {last.number} of {trail.owner.owner} closed the run with")
    state = "closed" if is_closed else "not closed"
    return f"of {trail.owner.owner}, round {manifest.round_number}, run {manifest.run[:12]} ({state})"


def _check_file(folder: Path, listed: FileDigest, manifest: Manifest, trail: Trail) -> str:
    """A file is the listed one, or the state that a later checkpoint put there before its manifest was written."""
    path = folder / listed.name
    try:
        if path.stat().st_size > MOST_BYTES:
            raise TrustError(
                f"{path}: has more than {MOST_BYTES >> 20} MiB, as no file of a run has; it is another file"
            )
        found = sha256_of_file(path)
    except OSError as error:
        raise TrustError(f"{path}: cannot be read ({error.strerror}), and the manifest lists it") from error
    if found == listed.sha256:
        return "as it was signed"
    later = [entry for entry in trail if entry.kind is Kind.CHECKPOINT and entry.number > manifest.head.size]
    if listed.name == STATE_FILE and found in [entry.content for entry in later]:
        return "one checkpoint ahead of the manifest, and in the log: the server was stopped between the two"
    raise TrustError(f"{path}: is not the file that was signed; it was changed or replaced")


def _check_releases(trail: Trail, audit: LedgerAudit) -> str:
    """What a site's log says was released and paid for, its ledger charged and settled."""
    paid = {entry.number: entry.fields["ledger_entry"] for entry in trail if entry.kind is Kind.RELEASE}
    for number, digest in paid.items():
        if digest is not None and not audit.books.has_left(str(digest)):
            raise LedgerError(
                f"log of {trail.owner.owner}: entry {number}: says what its ledger does not, that a release was "
                "charged and left"
            )
    costly = [digest for digest in paid.values() if digest is not None]
    return f"{len(paid)} in the log, {len(costly)} of them at a cost; the ledger has each"


def _check_site(site: PrivateSite, audit: LedgerAudit | None) -> str:
    """The ledger still has the head that the site told the server."""
    said = f"epsilon {site.epsilon:.3f} at delta {site.delta:g}, by the server's count"
    if audit is None:
        return f"{said}; its ledger is not here, or does not hold"
    books = audit.books
    if site.ledger_head not in [books.digest_of(number + 1) for number in range(len(books))]:
        raise LedgerError(
            f"ledger of {site.name}: an entry up to {site.ledger_head[:12]}, which the manifest names, was rewritten "
            "or cut off"
        )
    return f"{said}; its ledger has the head that the manifest names"
