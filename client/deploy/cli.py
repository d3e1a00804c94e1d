"""`wardround site init` and `join`: their options, and what they tell a person."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from client.deploy.init import create_site, join, read_invitation
from client.state_folder import REQUEST_FILE
from common.trust.display import confirm, show_expiries, spoken


def init_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder: the state_folder of site.yaml.")],
    *,
    bundle: Annotated[
        Path, typer.Option("--consortium", metavar="FILE", help="The consortium.json of the coordinating centre.")
    ],
    name: Annotated[str, typer.Option(metavar="NAME", help="The name that this hospital asks for.")],
    yes: Annotated[bool, typer.Option("--yes", help="The digest was compared already: do not ask.")] = False,
) -> None:
    """Make this hospital's keys, here, and the request with which it joins a consortium.

    The keys never leave the folder; the request holds their public halves. Nothing is sent. Exits with 2 where the
    folder holds something, 4 where the consortium's file does not hold.
    """
    now = datetime.now(UTC)
    consortium = read_invitation(bundle, now=now)
    typer.echo(f"Consortium: {consortium.name}, at {consortium.address}")
    typer.echo(f"Its digest, to compare by telephone: {spoken(consortium.digest)}")
    show_expiries([consortium.expiry], now)
    confirm("Is this the digest that the coordinating centre sees?", yes=yes)
    made = create_site(folder, bundle=bundle, confirmed=consortium.digest, name=name, now=now)
    typer.echo(f"Made the keys of {name} in {folder}; they stay here. Back them up.")
    typer.echo(f"Send to the coordinating centre: {folder / REQUEST_FILE}")
    typer.echo(f"Node key: {made.node_key.public.fingerprint}")
    typer.echo(f"Digest of the request, to compare by telephone: {spoken(made.request.digest)}")


def join_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder that wardround site init made.")],
    admission: Annotated[Path, typer.Argument(metavar="ADMISSION", help="What the coordinating centre sent back.")],
) -> None:
    """Take the answer to this hospital's request, or a newer one after the consortium's root was changed.

    Exits with 4 where it does not answer the request, or is not signed by the server that the request was for.
    """
    now = datetime.now(UTC)
    member = join(folder, admission, now=now)
    typer.echo(f"{member.name} is a member of {member.consortium.name}, at {member.consortium.address}")
    show_expiries([member.admission.expiry, member.consortium.expiry], now)
