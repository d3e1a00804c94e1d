"""Roots in a server's folder, their keys, and the server certificates that are made with them.

A root's files are named by its fingerprint: a new root never takes the place of an old one's.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from common.errors import TrustError
from common.files import write_atomically
from common.trust.authority import CertificateKey, create_root, cross_sign, issue_server_certificate
from common.trust.certificates import Certificate, certificates_in
from common.trust.key_files import read_private, write_private
from server.deploy.config import ConsortiumConfig
from server.deploy.installation import SERVER_FILE, served_names

_CHARACTERS = 12


def make_root(folder: Path, config: ConsortiumConfig, *, now: datetime) -> Certificate:
    """A new root and its key, on the disk before it is returned.

    Raises:
        TrustError: It cannot be written.
    """
    key = CertificateKey.generate()
    root = create_root(config.name, key=key, now=now, days=config.validity.root_days)
    write_private(root_key_file(folder, root), key.pem)
    write_atomically(_file(folder, root, ".crt"), root.pem.encode())
    return root


def make_cross_certificate(
    folder: Path, config: ConsortiumConfig, *, successor: Certificate, root: Certificate, now: datetime
) -> None:
    """Have the old root vouch for the new one, for the time of the cross-over.

    Raises:
        TrustError: The old root's key is not there, or cannot be used.
    """
    key = read_root_key(folder, root)
    cross = cross_sign(successor, root=root, key=key, now=now, days=config.validity.crossover_days)
    write_atomically(_file(folder, successor, "_cross.crt"), cross.pem.encode())


def cross_certificate(folder: Path, root: Certificate) -> Certificate | None:
    """What vouches for a root as the successor of another; None where it is the first.

    Raises:
        TrustError: The file holds no certificate.
    """
    path = _file(folder, root, "_cross.crt")
    if not path.exists():
        return None
    try:
        return certificates_in(path.read_bytes())[0]
    except TrustError as error:
        raise TrustError(f"{path}: {error}; restore it from a backup") from error


def make_server_certificate(folder: Path, config: ConsortiumConfig, *, root: Certificate, now: datetime) -> Certificate:
    """A new key and certificate of TLS, in the place of the old ones at once.

    Raises:
        TrustError: The root's key is not there, or cannot be used.
        OSError: They cannot be written; the old ones are untouched.
    """
    root_key, key = read_root_key(folder, root), CertificateKey.generate()
    certificate = issue_server_certificate(
        config.name,
        served_names(config),
        server_key=key,
        root=root,
        root_key=root_key,
        now=now,
        days=config.validity.server_days,
    )
    chain: Sequence[Certificate] = [certificate]
    cross = cross_certificate(folder, root)
    if cross is not None and now < cross.end:
        chain = [certificate, cross]
    write_atomically(folder / SERVER_FILE, key.pem + "".join(link.pem for link in chain).encode())
    return certificate


def read_root_key(folder: Path, root: Certificate) -> CertificateKey:
    """A root's key, which may have been kept elsewhere.

    Raises:
        TrustError: It is not there, others can read it, or it is another key.
    """
    path = root_key_file(folder, root)
    if not path.exists():
        raise TrustError(f"{path}: is not there; bring the root's key back from where it is kept, for this command")
    content = read_private(path)
    try:
        key = CertificateKey.from_pem(content)
    except TrustError as error:
        raise TrustError(f"{path}: {error}; restore it from a backup") from error
    if not key.is_of(root):
        raise TrustError(f"{path}: is not the key of the root {root.fingerprint[:_CHARACTERS]}; restore it")
    return key


def root_key_file(folder: Path, root: Certificate) -> Path:
    """Where a root's key lies when a certificate is made."""
    return _file(folder, root, "_key.pem")


def _file(folder: Path, root: Certificate, ending: str) -> Path:
    return folder / "ca" / f"{root.fingerprint[:_CHARACTERS]}{ending}"
