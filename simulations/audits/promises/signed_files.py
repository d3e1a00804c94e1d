"""What is signed of a run: logs, the heads that each side holds of the other's, manifest, files, ledgers, member list.

Most of it is `wardround audit run` over all that was handed over. A file that the manifest lists and that is not there
cannot be told of: it was not handed over. One that is there and is another fails.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from functools import partial

from common.errors import CannotTell, TrustError, WardroundError
from common.evidence.log_audit import Finding
from common.evidence.log_entries import Kind
from common.evidence.log_files import LOG_FILE
from common.evidence.manifest import MANIFEST_FILE, STATE_FILE
from common.files import sha256_of_file
from common.ledger.audit import LedgerAudit
from server.deploy.members import Admitted
from server.report.summary import REPORT_FILE, SUMMARY_FILE
from server.report.write import ROUNDS_FILE
from simulations.audits.promises.answers import Check, Promise, answer_of, checked, exit_code_of
from simulations.audits.promises.handed_over import files_of_ledger
from simulations.audits.promises.opened import Opened

_ALSO = {
    STATE_FILE: Promise.CRASH,
    SUMMARY_FILE: Promise.SERVED,
    REPORT_FILE: Promise.SERVED,
    ROUNDS_FILE: Promise.BAD_HOSPITAL,
}
"""What rests on a signed file beside the promise that all can be checked."""


def checks(opened: Opened) -> Iterator[Check]:
    """The checks, in the order of `wardround audit run`, then what it does not look at."""
    yield from (_of_finding(opened, finding) for finding in opened.evidence.findings)
    if opened.is_simulation:
        return
    command = f"wardround audit all {shlex.quote(str(opened.handed.run))}"
    if opened.server_log is None and not _names_a_broken_log(opened):
        yield checked(
            "log of the server", partial(_not_here, opened), promises=(Promise.OFFLINE,), files=(), command=command
        )
    if opened.server_log is not None:
        yield checked(
            "end of the run",
            partial(_check_end, opened),
            promises=(Promise.OFFLINE,),
            files=(opened.server_log[0],),
            command=command,
        )
    if opened.config.value is not None and opened.evidence.manifest is not None:
        yield checked(
            "run of the manifest",
            partial(_check_run, opened),
            promises=(Promise.OFFLINE,),
            files=(opened.config.path, opened.handed.run / MANIFEST_FILE),
            command=command,
        )
    listed = opened.members()
    yield checked(
        "member list",
        partial(_check_members, opened),
        promises=(Promise.OFFLINE, Promise.BAD_HOSPITAL),
        files=() if listed is None else (listed.path,),
        command=f"{command} --members FILE",
    )
    for site in opened.sites:
        files = [opened.site_logs[site][0]] if site in opened.site_logs else []
        yield checked(
            f"keys of {site}",
            partial(_check_keys, opened, site),
            promises=(Promise.OFFLINE,),
            files=files,
            command=command,
        )


def _of_finding(opened: Opened, finding: Finding) -> Check:
    """A finding of `audit_run` as a check."""
    error = _seen(opened, finding)
    files = tuple(files_of_ledger(finding.path)) if finding.subject.startswith("ledger ") else (finding.path,)
    return Check(
        name=_name(opened, finding),
        promises=_promises(opened, finding),
        answer=answer_of(error),
        says=finding.says if error is None else str(error),
        files=tuple(path for path in files if path.is_file()),
        command=_command(opened, finding),
        claimed_epsilon=_epsilon(opened, finding),
        exit_code=exit_code_of(error),
    )


def _seen(opened: Opened, finding: Finding) -> WardroundError | None:
    """Why a finding does not hold, where what is missing was just not handed over."""
    if finding.error is None:
        return None
    if not finding.path.exists():
        return CannotTell(f"{finding.path}: not handed over, and the run has one")
    if finding.subject == "run":
        return _unsigned(opened)
    unsigned_by_anyone = opened.server_log is None and not _names_a_broken_log(opened)
    if finding.subject == "manifest" and opened.evidence.manifest is None and unsigned_by_anyone:
        return CannotTell(f"{finding.path}: its signature cannot be checked: the server's log was not handed over")
    return finding.error


def _unsigned(opened: Opened) -> CannotTell:
    run = opened.handed.run
    if opened.is_simulation:
        return CannotTell(
            f"{run}: a simulation signs its ledgers alone; of report, figures and model nothing is signed"
        )
    return CannotTell(f"{run}: the server's log and the manifest were not handed over")


def _names_a_broken_log(opened: Opened) -> bool:
    """Whether a log is here that does not hold: it may be the server's."""
    return any(finding.error and finding.subject.startswith("log ") for finding in opened.evidence.findings)


def _name(opened: Opened, finding: Finding) -> str:
    """The subject, in which a hospital stands where its path stood, once the file told whose it is."""
    folder = finding.path.parent
    log = opened.evidence.logs.logs.get(folder) if finding.path.name == LOG_FILE else None
    if log is not None:
        return finding.subject.replace(str(folder), log.trail.owner.owner)
    ledger = _ledger_of(opened, finding)
    return finding.subject if ledger is None else f"ledger {ledger.books.opened.site}"


def _ledger_of(opened: Opened, finding: Finding) -> LedgerAudit | None:
    """The ledger that a finding is of and that holds."""
    if finding.error is not None or not finding.subject.startswith("ledger "):
        return None
    return next(audit for site, audit in opened.ledgers.items() if finding.says.startswith(f"of {site}: "))


def _promises(opened: Opened, finding: Finding) -> tuple[Promise, ...]:
    kind = finding.subject.partition(" ")[0]
    is_of_server = opened.server_log is not None and finding.path == opened.server_log[0]
    also: tuple[Promise, ...] = {
        "log": (Promise.BAD_HOSPITAL, Promise.CRASH) if is_of_server else (Promise.GATED,),
        "ledger": (Promise.EPSILON,),
        "site": (Promise.EPSILON,),
        "releases": (Promise.GATED, Promise.EPSILON),
    }.get(kind, ())
    if finding.subject in _ALSO:
        also = (_ALSO[finding.subject],)
    # A simulation's ledgers are all that it signs: they say nothing of whether the rest can be checked.
    return also if opened.is_simulation and kind == "ledger" else (*also, Promise.OFFLINE)


def _command(opened: Opened, finding: Finding) -> str:
    path, run = shlex.quote(str(finding.path)), shlex.quote(str(opened.handed.run))
    if finding.subject.startswith("ledger "):
        return f"wardround audit ledger {path}"
    if finding.subject.startswith("log "):
        return f"wardround audit log {shlex.quote(str(finding.path.parent))}"
    return f"wardround audit run {run}"


def _epsilon(opened: Opened, finding: Finding) -> float | None:
    """The greatest spend of the accounts of the ledger that a finding is of."""
    ledger = _ledger_of(opened, finding)
    if ledger is None:
        return None
    return max((account.statement.epsilon for account in ledger.accounts), default=0.0)


def _not_here(opened: Opened) -> str:
    raise CannotTell(f"{opened.handed.run / 'logs'}: the server's log was not handed over")


def _check_end(opened: Opened) -> str:
    """The log closes the run that the summary reports: without that line, its end was cut off, or never written."""
    path, trail = opened.log_of_server()
    closed = [entry for entry in opened.of_run(trail) if entry.kind is Kind.RUN_CLOSED]
    if not closed:
        raise CannotTell(
            f"{path}: does not say that the run has ended: it goes on, was stopped, or the end was cut off"
        )
    last = closed[-1]
    return f"entry {last.number} closed the run after {last.fields['rounds']} rounds: {last.fields['status']}"


def _check_run(opened: Opened) -> str:
    manifest = opened.evidence.manifest
    if manifest is not None and manifest.run != opened.run:
        raise TrustError(f"{opened.config.path}: is not the configuration of the run that the manifest names")
    bundle = opened.bundle
    if isinstance(bundle.error, CannotTell):
        return f"config.yaml is that of run {manifest.run[:12] if manifest else ''}; the bundle was not handed over"
    if bundle.get().run != opened.run:
        raise TrustError(f"{bundle.path}: is the bundle of another run")
    return f"config.yaml and the bundle {bundle.get().hash[:12]} are those of run {str(opened.run)[:12]}"


def _check_members(opened: Opened) -> str:
    """The list is the server's, the one that its log noted or a later one, and has the hospitals with their keys."""
    listed = opened.members()
    if listed is None:
        raise CannotTell("members.json: the server's member list was not handed over; --members FILE takes it")
    members = listed.get()
    server = opened.server_log
    noted = [entry for entry in (server[1] if server else ()) if entry.kind is Kind.MEMBERS]
    if noted:
        last = int(str(noted[-1].fields["version"]))
        if members.version < last:
            raise TrustError(f"{listed.path}: has {members.version} entries, and the server's log noted {last}")
        same = [entry.content for entry in noted if entry.fields["version"] == members.version]
        if same and same[-1] != sha256_of_file(listed.path):
            raise TrustError(f"{listed.path}: is another list than the server's log noted")
    admitted = [entry for entry in members.entries if isinstance(entry, Admitted)]
    for site in opened.sites:
        keys = {entry.signing_key for entry in admitted if entry.site == site}
        if not keys:
            raise TrustError(f"{listed.path}: {site} took part in the run, and was never a member")
        if site in opened.site_logs and opened.site_logs[site][1].owner.public_key.hex not in keys:
            raise TrustError(f"{listed.path}: {site} was admitted with another key than its log is signed with")
    return f"{members.version} entries, signed by the server; every hospital of the run is in it with its key"


def _check_keys(opened: Opened, site: str) -> str:
    """One key signs a hospital's log and ledger, and is the one that the server knows it by."""
    log, ledger = opened.site_logs.get(site), opened.ledgers.get(site)
    if log is None and ledger is None:
        raise CannotTell(f"neither log nor ledger of {site} is here that holds")
    keys = {trail.owner.public_key.hex for trail in ([log[1]] if log else [])}
    keys |= {audit.books.public_key.hex for audit in ([ledger] if ledger else [])}
    if len(keys) > 1:
        raise TrustError(f"{site}: its ledger is signed with another key than its log; one of them is not its own")
    if opened.server_log is not None:
        keys |= {one.public_key.hex for one in opened.server_log[1].received if one.owner == site}
        if len(keys) > 1:
            raise TrustError(f"{site}: its files are signed with another key than the server's log knows it by")
    return f"one key signs all that is here of {site}: {keys.pop()}"
