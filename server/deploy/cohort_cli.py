"""`wardround server cohort`: who shares noise in a run, from the member list and what hospitals say of their size."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from common.config.ranges import check_band
from common.errors import ConfigError
from common.files import write_atomically
from common.pair_noise.cohort_file import Member, cohort_as_yaml
from common.trust.display import spoken
from server.deploy.config import CONFIG_FILE
from server.deploy.installation import read_installation


def cohort_command(
    bands: Annotated[list[str], typer.Argument(metavar="SITE=BAND", help="Each hospital, and its patients band.")],
    *,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the cohort is written, for wardround bundle.")],
    consortium: Annotated[
        Path, typer.Option("--config", metavar="FILE", help="The consortium's consortium.yaml.")
    ] = Path(CONFIG_FILE),
) -> None:
    """Name the hospitals that share noise in a run: their bands as they say them, their keys from the member list.

    A hospital sees its band with site check. Exits with 2 where one is no member or its band is none.
    """
    installation = read_installation(consortium)
    installation.check(datetime.now(UTC))
    members = installation.members.present
    cohort: dict[str, Member] = {}
    for given in bands:
        site, _, band = given.partition("=")
        if site not in members or site in cohort:
            raise ConfigError(f"{given}: {site or 'nobody'} is no member, or named twice; give each SITE=BAND once")
        check_band(band, f"{site}:")
        cohort[site] = Member(band=band, key=members[site].signing_key)
    write_atomically(out, cohort_as_yaml(cohort).encode())
    typer.echo(f"Wrote {out}: {len(cohort)} hospitals")
    for site, member in sorted(cohort.items()):
        typer.echo(f"{site}: {member.band}, key {spoken(member.key)}")
