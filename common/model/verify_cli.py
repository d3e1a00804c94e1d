"""`wardround model verify`: whether a model's folder is what was exported, and still makes its codes."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from common.console import Terminal
from common.model.verify import Verified, verify_model
from common.trust.keys import PublicKey


def verify_command(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A model, as wardround model export wrote it.")],
    *,
    public_key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The server's public key (PEM), got from elsewhere than the folder."),
    ] = None,
    as_object: Annotated[bool, typer.Option("--json", help="Print what was found as one JSON object.")] = False,
) -> None:
    """Check a model: each file, the signature of its run, and the code that it makes of its example.

    Nothing is changed. Exits with 0 where everything holds,
    2 where there is no model, or its frozen networks are not installed,
    4 where a file, a signature or a code is another than it was: it is named.

    Without --public-key, a folder that somebody made anew passes: compare the digests with those that its maker names.
    """
    known = [] if public_key is None else [PublicKey.load(public_key)]
    found = verify_model(folder, known=known)
    if as_object:
        typer.echo(json.dumps(asdict(found), indent=2))
    else:
        _show(found)


def _show(found: Verified) -> None:
    console = Terminal()
    lines = [
        "The model holds: every file is as it was exported, and its example gives the same code.",
        f"Model: {found.digest}, codes of {found.bit_width} bits",
        f"Folder: {found.folder_digest}",
        _signature(found),
        "How sure a hit is: told, from public studies" if found.tells_how_sure else "How sure a hit is: not told",
    ]
    for line in lines:
        console.print(line, soft_wrap=True)


def _signature(found: Verified) -> str:
    if found.signed is None:
        return "Signed: by nobody, as the run was not"
    how = "as given" if found.key_known else "named by the folder itself; give --public-key to check it"
    what = "figures and weights" if found.signed.covers_weights else "figures; the weights are the public start"
    return f"Signed: {what}, by {found.signed.key} ({how})"
