"""Admission and revocation of sites: one entry more in the member list, and the files that follow from it.

The entry is what counts. A crash after it leaves files missing, and the next command writes them.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

from common.errors import TrustError
from common.files import write_atomically
from common.trust.envelope import read_file
from common.trust.request import JoinRequest, read_request
from common.trust.times import as_text
from server.deploy.installation import (
    MEMBERS_FILE,
    Installation,
    admission_file,
    alone_in,
    publish,
    read_installation,
)
from server.deploy.members import Admitted, Entry, Revoked


def examine(installation: Installation, request_file: Path, *, now: datetime) -> JoinRequest:
    """A request that may be admitted, once people have compared its digest.

    1. Whoever made it holds both keys, and asked for this name.
    2. It is for this consortium.
    3. It is recent.
    4. Its name is free, and its keys were never in the list.

    Raises:
        TrustError: A rule is broken.
    """
    content = read_file(request_file)
    try:
        request = read_request(content)
    except TrustError as error:
        raise TrustError(f"{request_file}: {error}; have the site send it again") from error
    if request.consortium != installation.signing_key.public.hex:
        raise TrustError(
            f"{request_file}: asks another consortium; have the site make one for the file "
            f"of {installation.consortium.name}"
        )
    request.expiry(installation.config.validity.request_days).check(now)
    installation.members.check_free(request)
    return request


def admit(config_file: Path, request_file: Path, *, confirmed: str, now: datetime) -> Path:
    """Make a site a member.

    Args:
        config_file: The consortium's `consortium.yaml`.
        request_file: The site's request.
        confirmed: Digest of the request that people compared.
        now: The time.

    Returns:
        Its admission, to send back.

    Raises:
        TrustError: The request may not be admitted, or is another than was compared; or the server's certificate does
            not hold.
        ConfigError: What hospitals were told is not what `consortium.yaml` sets.
    """
    with alone_in(config_file.resolve().parent):
        installation = read_installation(config_file)
        installation.check(now)
        publish(installation)
        request = examine(installation, request_file, now=now)
        if request.digest != confirmed:
            raise TrustError(f"{request_file}: is another request than the one that was compared; begin again")
        entry = Admitted(
            site=request.site,
            signing_key=request.signing_key,
            node_key=request.node_key,
            request=request.digest,
            time=as_text(now),
        )
        _append(installation, entry)
        return admission_file(installation.folder, request.site)


def revoke(config_file: Path, site: str, *, reason: str, now: datetime) -> None:
    """Take a site out; its keys are never admitted again. An expired certificate does not stand in the way.

    Raises:
        ConfigError: The site is no member, or was revoked already; or the reason cannot be written.
        TrustError: The folder cannot be believed.
    """
    with alone_in(config_file.resolve().parent):
        installation = read_installation(config_file)
        publish(installation)
        _append(installation, Revoked(site=site, reason=reason, time=as_text(now)))


def _append(installation: Installation, entry: Entry) -> None:
    members = installation.members.and_(entry)
    write_atomically(installation.folder / MEMBERS_FILE, members.sealed(installation.signing_key))
    publish(replace(installation, members=members))
