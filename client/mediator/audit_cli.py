"""`wardround audit queries`: whether a hospital's record of its own queries is what it wrote, from its files alone."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from client.mediator.query_log import QUERIES_FOLDER, check_records
from client.state_folder import KEY_FILE
from common.console import Terminal
from common.errors import ConfigError
from common.evidence.log_audit import Finding, audit_logs, raise_first
from common.evidence.log_files import is_log
from common.trust.keys import PublicKey, SigningKey


def audit_command(
    state: Annotated[Path, typer.Argument(metavar="STATE", help="The hospital's state folder.")],
    *,
    public_key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The hospital's public key (PEM), got from elsewhere.", show_default=False),
    ] = None,
    as_object: Annotated[bool, typer.Option("--json", help="Print the checks as one JSON object.")] = False,
) -> None:
    """Check what a hospital recorded of its own queries: plans, checks, refusals, and what was shown and why.

    Each log below STATE/queries is held against its signatures, and each record against its entry. Without --public-key
    the key of the state folder counts. The files are read and never changed. Exits with 0 where all holds,
    2 where nothing was recorded,
    4 where an entry or a record is not what was written; it is named.
    """
    root = state / QUERIES_FOLDER
    folders = sorted(folder for folder in root.glob("*") if is_log(folder))
    if not folders:
        raise ConfigError(f"{root}: holds no record of queries; name the state folder of a hospital that has searched")
    known = PublicKey.load(public_key) if public_key else SigningKey.load(state / KEY_FILE).public
    rows, findings = [], []
    for folder in folders:
        begun = time.perf_counter()
        found = list(audit_logs([folder], known=[known]).findings)
        if all(one.error is None for one in found):
            check = partial(check_records, folder)
            found.append(Finding.of(f"records {folder.name}", folder / "queries.jsonl", check))
        rows += [_row(one, seconds=(time.perf_counter() - begun) / len(found)) for one in found]
        findings += found
    if as_object:
        typer.echo(json.dumps({"checks": rows}, indent=2))
    else:
        table = Table("what", "holds", "found")
        for one in findings:
            table.add_row(one.subject, "yes" if one.error is None else "NO", one.says)
        Terminal().print(table)
    raise_first(findings)


def _row(one: Finding, *, seconds: float) -> dict[str, Any]:
    return {
        "name": one.subject,
        "holds": one.error is None,
        "says": one.says,
        "lower_bound": None,
        "claimed_epsilon": None,
        "seconds": seconds,
    }
