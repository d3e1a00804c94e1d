"""`wardround audit ledger`: what a ledger's file proves by itself, and what it adds up to."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from common.console import Terminal
from common.errors import CheckFailed
from common.ledger.audit import AccountAudit, LedgerAudit, audit_ledger
from common.ledger.head_file import head_file_of
from common.ledger.read import read_books
from common.privacy.events import NEIGHBORING_RELATION, UNIT_OF_PRIVACY, event_as_json
from common.trust.keys import PublicKey


def audit_command(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A site's ledger, for example ledger.sqlite3.")],
    *,
    public_key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The site's public key (PEM), got from elsewhere than the ledger."),
    ] = None,
    as_object: Annotated[bool, typer.Option("--json", help="Print the findings as one JSON object.")] = False,
) -> None:
    """Check every entry of a ledger, and recompute what was spent, from the file alone.

    The file is read and never changed. Exits with 0 where it holds,
    1 where more was reserved than the hospital's budget let,
    2 where there is no ledger,
    4 where an entry is damaged, forged or missing: the first one is named.

    Without --public-key, a ledger written anew under another key passes:
    compare the key that is shown with the one that the site made known.
    """
    known = None if public_key is None else PublicKey.load(public_key)
    audit = audit_ledger(read_books(path, public_key=known))
    if as_object:
        typer.echo(json.dumps(_as_json(path, audit, key_is_known=known is not None), indent=2, allow_nan=False))
    else:
        _show(path, audit, key_is_known=known is not None)
    if audit.overspent:
        raise CheckFailed(f"{path}: more was reserved than the budget let: {'; '.join(audit.overspent)}")


def _as_json(path: Path, audit: LedgerAudit, *, key_is_known: bool) -> dict[str, Any]:
    """The findings; null is an infinite epsilon, one that PRV was not asked for, or a cap that was not set."""
    books = audit.books
    return {
        "ledger": str(path),
        "site": books.opened.site,
        "public_key": books.opened.public_key,
        "public_key_known": key_is_known,
        "head_file": head_file_of(path).exists(),
        "head": {**asdict(books.head), "signature": books.head.signature.hex()},
        "budget": asdict(books.budget),
        "unit_of_privacy": UNIT_OF_PRIVACY,
        "neighboring_relation": NEIGHBORING_RELATION,
        "accounts": [_account_as_json(account) for account in audit.accounts],
        "overspent": list(audit.overspent),
    }


def _account_as_json(audit: AccountAudit) -> dict[str, Any]:
    said = asdict(audit.statement)
    del said["head"]
    return {
        **said.pop("account"),
        **said,
        "epsilon": _finite(audit.statement.epsilon),
        "epsilon_alone": _finite(audit.statement.epsilon_alone),
        "epsilon_replace_one": _finite(audit.spent.epsilon_replace_one),
        "epsilon_by_prv": audit.spent.epsilon_by_prv,
        "unsettled": [
            {
                "entry": digest,
                "run": body.run,
                "round": body.round_number,
                "release": body.release,
                "event": event_as_json(body.event),
            }
            for digest, body in audit.unsettled.items()
        ],
    }


def _finite(epsilon: float) -> float | None:
    return epsilon if math.isfinite(epsilon) else None


def _show(path: Path, audit: LedgerAudit, *, key_is_known: bool) -> None:
    books, console = audit.books, Terminal()
    table = Table(title="Spent, recomputed (unit: the patient; neighbours: add or remove one patient)")
    for column in ("patients", "epsilon", "if one is replaced", "cap", "reserved", "not settled"):
        table.add_column(column, justify="left" if column == "patients" else "right")
    for account in audit.accounts:
        said = account.statement
        table.add_row(
            said.account.name,
            f"{said.epsilon:.3f}",
            f"{account.spent.epsilon_replace_one:.3f}",
            "none" if said.cap is None else f"{said.cap:g}",
            str(said.num_reserved),
            str(len(account.unsettled)),
        )
    if audit.accounts:
        console.print(table)
    else:
        console.print("Nothing was ever reserved.")
    for account in audit.accounts:
        if (alone := account.statement.alone_in_words) is not None:
            console.print(alone, soft_wrap=True, highlight=False, markup=False)
    for account in audit.accounts:
        for digest, body in account.unsettled.items():
            console.print(
                f"Not settled, and spent: {body.release} of round {body.round_number}, run {body.run[:12]} "
                f"(entry {digest[:12]})",
                soft_wrap=True,
                highlight=False,
            )
    key = "as given" if key_is_known else "named by the ledger itself; give --public-key to check it"
    beside = "and its head file agrees" if head_file_of(path).exists() else "no head file: its end may have been cut"
    lines = (
        f"Ledger: {path}, of {books.opened.site}; all {len(books)} entries hold, {beside}",
        f"Head: {books.head.digest}",
        f"Key: {books.opened.public_key} ({key})",
        f"Delta: {books.budget.delta:g}",
    )
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)
