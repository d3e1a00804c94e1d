"""New certificates before the old ones end.

A new server certificate changes nothing for the sites. A new root does: each site takes its new admission, and until
then it is served all the same, for the old root vouches for the new one while the cross-over lasts. The file of the
consortium, which names both roots, is written before a server certificate that needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from common.errors import ConfigError
from common.files import write_atomically
from common.trust.certificates import Certificate
from common.trust.times import Expiry
from server.deploy.installation import BUNDLE_FILE, Installation, alone_in, publish, read_installation
from server.deploy.roots import (
    cross_certificate,
    make_cross_certificate,
    make_root,
    make_server_certificate,
    read_root_key,
)


def rotate_server_certificate(config_file: Path, *, now: datetime) -> Installation:
    """A new key and certificate for the server, under the root in use; hosts and port as `consortium.yaml` sets them.

    A root whose cross-over has ended is dropped.

    Raises:
        TrustError: The root has expired, or its key is not there.
    """
    with alone_in(config_file.resolve().parent):
        installation = read_installation(config_file)
        root = installation.consortium.root
        installation.consortium.expiry.check(now)
        read_root_key(installation.folder, root)
        kept = _still_needed(installation, now)
        return _issue(installation, roots=[*kept, root], now=now)


def rotate_root(config_file: Path, *, now: datetime) -> Installation:
    """A new root, for which the old one vouches while the cross-over lasts, and a server certificate under it.

    An expired root vouches for nothing: then a site is served only when it has taken its new admission.

    Raises:
        ConfigError: A cross-over is under way: a third root would leave sites of the first one behind.
        TrustError: The old root's key is not there.
    """
    with alone_in(config_file.resolve().parent):
        installation = read_installation(config_file)
        folder, old = installation.folder, installation.consortium.root
        if now >= old.end:
            return _issue(installation, roots=[make_root(folder, installation.config, now=now)], now=now)
        over = crossover(installation)
        if over is not None and now < over.end:
            raise ConfigError(
                f"the cross-over to a new root is under way until {over.end:%Y-%m-%d}; begin another after it"
            )
        read_root_key(folder, old)
        new = make_root(folder, installation.config, now=now)
        make_cross_certificate(folder, installation.config, successor=new, root=old, now=now)
        return _issue(installation, roots=[old, new], now=now)


def crossover(installation: Installation) -> Expiry | None:
    """When the cross-over from the root before ends; None where there is none."""
    cross = cross_certificate(installation.folder, installation.consortium.root)
    if cross is None or len(installation.consortium.roots) == 1:
        return None
    return cross.expiry(
        "cross-over to the new root", remedy="send each site its admission before then, and rotate once more after it"
    )


def _still_needed(installation: Installation, now: datetime) -> Sequence[Certificate]:
    """Roots before the one in use that sites may still know alone."""
    over = crossover(installation)
    return () if over is None or now >= over.end else installation.consortium.certificates[:-1]


def _issue(installation: Installation, *, roots: Sequence[Certificate], now: datetime) -> Installation:
    config, told = installation.config, installation.consortium
    new = replace(told, hosts=tuple(config.hosts), port=config.port, roots=tuple(root.pem for root in roots))
    if new != told:
        new = replace(new, version=told.version + 1)
        write_atomically(installation.folder / BUNDLE_FILE, new.sealed(installation.signing_key))
    make_server_certificate(installation.folder, config, root=roots[-1], now=now)
    rotated = replace(installation, consortium=new)
    publish(rotated)
    return rotated
