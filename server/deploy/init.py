"""A consortium is made: its keys, its first certificates, an empty member list, and the file that hospitals get."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from common.files import write_atomically
from common.trust.consortium import Consortium
from common.trust.key_files import new_private_folder
from common.trust.keys import SigningKey
from server.deploy.config import CONFIG_FILE, ConsortiumConfig, Validity, check_consortium_config, consortium_yaml
from server.deploy.installation import (
    BUNDLE_FILE,
    MEMBERS_FILE,
    SIGNING_KEY_FILE,
    Installation,
    publish,
    read_installation,
)
from server.deploy.members import Members
from server.deploy.roots import make_root, make_server_certificate

_NOT_YET = "0" * 64
DEFAULT_PORT = 8443


def create_consortium(
    folder: Path,
    *,
    name: str,
    hosts: Sequence[str],
    now: datetime,
    port: int = DEFAULT_PORT,
    validity: Validity | None = None,
) -> Installation:
    """A new consortium, in a folder that appears when all of it is there.

    Args:
        folder: A folder that is not there yet, or is empty.
        name: The consortium's.
        hosts: Names and IP addresses of the server; sites dial the first.
        now: The time.
        port: Where the server will listen for the sites.
        validity: How long certificates hold.

    Raises:
        ConfigError: A value cannot be, or the folder holds something.
        TrustError: A key cannot be written.
    """
    draft = ConsortiumConfig(
        name=name, signing_key=_NOT_YET, hosts=list(hosts), port=port, validity=validity or Validity()
    )
    check_consortium_config(draft)
    with new_private_folder(folder, remedy="give a new folder") as lent:
        key = SigningKey.create(lent / SIGNING_KEY_FILE)
        config = replace(draft, signing_key=key.public.hex)
        root = make_root(lent, config, now=now)
        make_server_certificate(lent, config, root=root, now=now)
        consortium = Consortium(
            name=name, version=1, hosts=tuple(hosts), port=port, signing_key=key.public.hex, roots=(root.pem,)
        )
        write_atomically(lent / BUNDLE_FILE, consortium.sealed(key))
        write_atomically(lent / MEMBERS_FILE, Members(name).sealed(key))
        write_atomically(lent / CONFIG_FILE, consortium_yaml(config).encode())
        publish(read_installation(lent / CONFIG_FILE))
    return read_installation(folder / CONFIG_FILE)
