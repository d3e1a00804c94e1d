"""`wardround server init`, `admit`, `revoke` and `rotate`: their options, and what they tell a person.

Each ends with when the certificates end, and warns of those that end within 30 days.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from common.trust.display import confirm, show_expiries, spoken
from common.trust.request import JoinRequest
from server.deploy.config import CONFIG_FILE
from server.deploy.init import DEFAULT_PORT, create_consortium
from server.deploy.installation import BUNDLE_FILE, Installation, admission_file, read_installation
from server.deploy.membership import admit, examine, revoke
from server.deploy.roots import root_key_file
from server.deploy.rotate import crossover, rotate_root, rotate_server_certificate

ConfigFile = Annotated[Path, typer.Option("--config", metavar="FILE", help="The consortium's consortium.yaml.")]


def init_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder, for the server's keys and members.")],
    *,
    name: Annotated[str, typer.Option(metavar="NAME", help="Name of the consortium.")],
    host: Annotated[
        list[str],
        typer.Option(metavar="HOST", help="Name or IP address of the server; once for each. Sites dial the first."),
    ],
    port: Annotated[
        int, typer.Option(metavar="PORT", help="Where the server will listen for the sites.")
    ] = DEFAULT_PORT,
) -> None:
    """Make a consortium: certificates, the server's signing key, and the file that each hospital gets.

    Nothing listens and nothing is sent. Exits with 2 where the folder holds something.
    """
    now = datetime.now(UTC)
    made = create_consortium(folder, name=name, hosts=host, port=port, now=now)
    key_file = root_key_file(folder, made.consortium.root)
    typer.echo(f"Consortium {name}, in {folder}")
    typer.echo(f"Send to each hospital: {folder / BUNDLE_FILE}")
    typer.echo(f"Digest, to compare by telephone: {spoken(made.consortium.digest)}")
    typer.echo(f"Keep the root's key off this machine, and bring it back for rotate alone: {key_file}")
    _show_ends(made, now)


def admit_command(
    request: Annotated[Path, typer.Argument(metavar="REQUEST", help="What wardround site init made at the hospital.")],
    *,
    consortium: ConfigFile = Path(CONFIG_FILE),
    yes: Annotated[bool, typer.Option("--yes", help="The digest was compared already: do not ask.")] = False,
) -> None:
    """Make a hospital a member, once its request's digest was compared by telephone.

    Writes its admission, to send back, and its public node key, for Flower. Exits with 4 where the request does not
    hold, its name is taken or a key of it was there before.
    """
    now = datetime.now(UTC)
    installation = read_installation(consortium)
    _show_ends(installation, now)
    installation.check(now)
    asked = examine(installation, request, now=now)
    _show_request(asked)
    confirm(f"Is this the digest that {asked.site} sees, and is it who it says?", yes=yes)
    admission = admit(consortium, request, confirmed=asked.digest, now=now)
    typer.echo(f"Admitted {asked.site}. Send back: {admission}")


def revoke_command(
    site: Annotated[str, typer.Argument(metavar="SITE", help="Name of a member.")],
    *,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, in one line; it stays in the signed list.")],
    consortium: ConfigFile = Path(CONFIG_FILE),
) -> None:
    """Take a hospital out of the consortium: its keys are never admitted again.

    An expired certificate does not stand in the way. Exits with 2 where it is no member, or was revoked already.
    """
    now = datetime.now(UTC)
    revoke(consortium, site, reason=reason, now=now)
    typer.echo(f"Revoked {site}. To come back, it needs new keys and a new request.")
    _show_ends(read_installation(consortium), now)


def rotate_command(
    *,
    ca: Annotated[bool, typer.Option("--ca", help="A new root too; sites take their new admissions.")] = False,
    consortium: ConfigFile = Path(CONFIG_FILE),
) -> None:
    """Make the server a new certificate, before the old one ends or after hosts or port were changed.

    Needs the key of the root in use. Exits with 4 where it is not there, or the root has expired and --ca is not given.
    """
    now = datetime.now(UTC)
    before = read_installation(consortium)
    after = (rotate_root if ca else rotate_server_certificate)(consortium, now=now)
    typer.echo(f"New server certificate for {', '.join(after.config.hosts)}")
    if after.consortium != before.consortium:
        typer.echo(f"Hospitals that join from now on get: {after.folder / BUNDLE_FILE}")
        typer.echo(f"Digest, to compare by telephone: {spoken(after.consortium.digest)}")
        for site in after.members.present:
            typer.echo(f"Send to {site}: {admission_file(after.folder, site)}")
    _show_ends(after, now)


def _show_request(asked: JoinRequest) -> None:
    typer.echo(f"Site: {asked.site}")
    typer.echo(f"Made: {asked.created}")
    typer.echo(f"Signing key: {asked.signing_key}")
    typer.echo(f"Node key: {asked.node_public_key.fingerprint}")
    typer.echo(f"Digest, to compare by telephone: {spoken(asked.digest)}")


def _show_ends(installation: Installation, now: datetime) -> None:
    over = crossover(installation)
    show_expiries([*installation.expiries, *(() if over is None else (over,))], now)
