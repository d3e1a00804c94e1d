"""`wardround audit index`: whether a hospital's index is what the hospital wrote, from its files alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from client.search.audit import audit_index
from common.console import Terminal
from common.trust.keys import PublicKey


def audit_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An index: the folder search of a state folder.")],
    *,
    public_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The hospital's public key (PEM), got from elsewhere.")
    ] = None,
    as_object: Annotated[bool, typer.Option("--json", help="Print the checks as one JSON object.")] = False,
) -> None:
    """Check a hospital's index: the signature, every byte under the Merkle roots, and that nothing withdrawn is in it.

    The files are read and never changed. Exits with 0 where all holds,
    2 where there is no index,
    4 where a byte is not what was written, the signature does not hold, or a withdrawn study is in it.

    Without --public-key no signature is looked at: an index written anew by somebody else passes.
    """
    known = None if public_key is None else PublicKey.load(public_key)
    head, checks = audit_index(folder, key=known)
    if as_object:
        rows = [
            {
                "name": check.name,
                "holds": check.error is None,
                "lower_bound": None,
                "claimed_epsilon": None,
                "seconds": check.seconds,
            }
            for check in checks
        ]
        said = {"site": head.site, "model": head.model, "bit_width": head.bit_width, "root": head.root}
        typer.echo(json.dumps({**said, "signature_checked": known is not None, "checks": rows}, indent=2))
    else:
        table = Table("what", "holds", title=f"Index of {head.site}, {head.bit_width} bits, model {head.model[:12]}")
        for check in checks:
            table.add_row(check.name, "yes" if check.error is None else "NO")
        console = Terminal()
        console.print(table)
        how = "holds, as given" if known is not None else "not looked at; give --public-key"
        console.print(f"Root: {head.root}\nSignature: {how}", soft_wrap=True)
    for check in checks:
        if check.error is not None:
            raise check.error
