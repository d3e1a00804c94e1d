"""`wardround audit log` and `wardround audit run`: what signed evidence proves, from the files alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from common.console import Terminal
from common.evidence.log_audit import Finding, audit_logs, raise_first
from common.evidence.log_files import StoredLog
from common.evidence.manifest import Manifest, PrivateSite
from common.evidence.run_audit import audit_run
from common.trust.keys import PublicKey

PublicKeys = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="Public key (PEM) of a log's owner, got from elsewhere; repeat it for several."),
]
AsObject = Annotated[bool, typer.Option("--json", help="Print the findings as one JSON object.")]


def log_command(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of audit logs, one log each.")],
    *,
    public_key: PublicKeys = None,
    as_object: AsObject = False,
) -> None:
    """Check audit logs: each entry, the chain, the Merkle roots, the signatures, and the heads held of each other.

    Give the server's log and a hospital's together, and each is held against what the other one kept of it.

    The files are read and never changed. Exits with 0 where everything holds,
    2 where there is no log,
    4 where an entry is damaged, forged, rewritten or missing: the first one is named.

    Without --public-key, a log written anew under another key passes:
    compare the keys that are shown with those that their owners made known.
    """
    known = [PublicKey.load(path) for path in public_key or ()]
    evidence = audit_logs(folders, known=known)
    if as_object:
        _print_json(evidence.findings, evidence.logs, keys_known=bool(known), manifest=None)
    else:
        _show(evidence.findings, evidence.logs, keys_known=bool(known))
    raise_first(evidence.findings)


def run_command(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    *,
    public_key: PublicKeys = None,
    as_object: AsObject = False,
) -> None:
    """Check all that is signed in a run folder: logs, manifest, the files that it lists, the hospitals' ledgers.

    Nothing is changed. Exits with 0 where everything holds,
    1 where nothing is signed, or a ledger holds more than its hospital's budget let,
    2 where there is no such folder,
    4 where something signed does not hold: the first broken entry or file is named.
    """
    known = [PublicKey.load(path) for path in public_key or ()]
    evidence = audit_run(folder, known=known)
    logs = evidence.logs.logs
    if as_object:
        _print_json(evidence.findings, logs, keys_known=bool(known), manifest=evidence.manifest)
    else:
        _show(evidence.findings, logs, keys_known=bool(known))
    raise_first(evidence.findings)


def _print_json(
    findings: Sequence[Finding], logs: Mapping[Path, StoredLog], *, keys_known: bool, manifest: Manifest | None
) -> None:
    said = {
        "holds": all(finding.error is None for finding in findings),
        "findings": [
            {"subject": finding.subject, "holds": finding.error is None, "says": finding.says} for finding in findings
        ],
        "public_keys_known": keys_known,
        "logs": [_log_as_json(folder, stored) for folder, stored in logs.items()],
        "manifest": None if manifest is None else _manifest_as_json(manifest),
    }
    typer.echo(json.dumps(said, indent=2, allow_nan=False))


def _log_as_json(folder: Path, stored: StoredLog) -> dict[str, Any]:
    trail = stored.trail
    return {
        "folder": str(folder),
        "owner": trail.owner.owner,
        "public_key": trail.owner.public_key.hex,
        "head": trail.head.as_json(),
        "given_size": stored.given.content.size if stored.given else None,
        "torn_bytes": stored.torn_bytes,
        "held": {held.owner: heads[-1].as_json() for held, heads in trail.received.items()},
    }


def _manifest_as_json(manifest: Manifest) -> dict[str, Any]:
    return {
        "run": manifest.run,
        "round": manifest.round_number,
        "unit_of_privacy": manifest.unit_of_privacy,
        "neighboring_relation": manifest.neighboring_relation,
        "files": {file.name: file.sha256 for file in manifest.files},
        "sites": {site.name: vars(site) if isinstance(site, PrivateSite) else None for site in manifest.sites},
    }


def _show(findings: Sequence[Finding], logs: Mapping[Path, StoredLog], *, keys_known: bool) -> None:
    console = Terminal()
    table = Table(title="Signed evidence, checked from the files alone")
    for column in ("what", "holds", "found"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        holds = "yes" if finding.error is None else "NO"
        table.add_row(*(Text(said) for said in (finding.subject, holds, finding.says)))
    console.print(table, highlight=False)
    how = "as given" if keys_known else "named by the log itself; give --public-key to check it"
    for stored in logs.values():
        trail = stored.trail
        lines = (
            f"Log of {trail.owner.owner}: root {trail.head.content.root} over {len(trail)} entries",
            f"Key of {trail.owner.owner}: {trail.owner.public_key.hex} ({how})",
        )
        for line in lines:
            console.print(line, soft_wrap=True, highlight=False, markup=False)
