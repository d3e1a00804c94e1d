"""A server's folder: what lies where, and what must hold of it before any of it is used.

    consortium.yaml              what the centre sets
    consortium.json, .crt        public: what a hospital gets, and the roots alone for TLS
    signing_key.pem              private: Ed25519, vouches for all of this
    server.pem                   private: P-384 key and certificate chain of TLS; one file, so that both change at once
    members.json                 who was admitted and revoked
    ca/ROOT.crt, ROOT_key.pem    a root and its key; the key may lie elsewhere when no certificate is made
    ca/ROOT_cross.crt            the root before it vouches for this one
    admissions/SITE.json         public: what a member gets back
    nodes/SITE.pub               public: what Flower registers of a member

The last two and `consortium.crt` follow from the rest: `publish` writes them.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from common.errors import ConfigError, TrustError
from common.files import write_atomically
from common.trust.admission import Admission
from common.trust.authority import CertificateKey
from common.trust.certificates import Certificate, certificates_in, check_path
from common.trust.consortium import Consortium, read_consortium
from common.trust.envelope import read_file
from common.trust.key_files import read_private
from common.trust.keys import SigningKey
from common.trust.node_key import NodePublicKey
from common.trust.times import Expiry, as_text
from server.deploy.config import CONFIG_FILE, ConsortiumConfig, read_consortium_config
from server.deploy.members import Members, read_members

T = TypeVar("T")

SIGNING_KEY_FILE = "signing_key.pem"
BUNDLE_FILE = "consortium.json"
ROOTS_FILE = "consortium.crt"
SERVER_FILE = "server.pem"
MEMBERS_FILE = "members.json"

LOOPBACK = "127.0.0.1"
"""Where the server's own processes reach it, under the same certificate as the sites."""

_LOCK_FILE = ".served"
_ROTATE = "wardround server rotate makes the next one"


@dataclass(frozen=True, kw_only=True)
class Installation:
    """A server's folder, as it was read.

    Attributes:
        folder: The folder.
        config: What the centre sets.
        signing_key: The server's Ed25519 key.
        consortium: What a hospital gets.
        members: Who was admitted and revoked.
    """

    folder: Path
    config: ConsortiumConfig
    signing_key: SigningKey
    consortium: Consortium
    members: Members

    @property
    def server_file(self) -> Path:
        """Key and certificate chain of TLS."""
        return self.folder / SERVER_FILE

    @property
    def server_chain(self) -> tuple[Certificate, ...]:
        """The server's certificate, then what is sent along.

        Raises:
            TrustError: The file cannot be read, others can read it, or key and certificate do not belong together.
        """
        content = read_private(self.server_file)
        try:
            key, chain = CertificateKey.from_pem(content), certificates_in(content)
        except TrustError as error:
            raise TrustError(f"{self.server_file}: {error}; {_ROTATE}") from error
        if not key.is_of(chain[0]):
            raise TrustError(f"{self.server_file}: its key is not that of its certificate; {_ROTATE}")
        return chain

    @property
    def expiries(self) -> tuple[Expiry, ...]:
        """When root and server certificate end."""
        return (self.consortium.expiry, self.server_chain[0].expiry("server certificate", remedy=_ROTATE))

    def check(self, now: datetime) -> None:
        """Return where the server can be believed now.

        1. What hospitals were told is what the centre sets.
        2. Root and server certificate are valid.
        3. The certificate leads to the root, for each host and for this machine itself.

        Raises:
            ConfigError: Hosts or port were changed, and not made known.
            TrustError: A certificate does not hold.
        """
        if (list(self.consortium.hosts), self.consortium.port) != (self.config.hosts, self.config.port):
            raise ConfigError(
                f"{self.folder / BUNDLE_FILE}: tells hospitals of other hosts or another port than {CONFIG_FILE} sets; "
                "wardround server rotate makes them agree"
            )
        for expiry in self.expiries:
            expiry.check(now)
        try:
            for host in served_names(self.config):
                check_path(self.server_chain, roots=self.consortium.certificates, host=host, now=now)
        except TrustError as error:
            raise TrustError(f"{self.server_file}: {error}; {_ROTATE}") from error


def read_installation(config_file: Path) -> Installation:
    """The folder that a `consortium.yaml` lies in.

    1. The signing key is readable by its owner alone, and is the one that `consortium.yaml` names.
    2. The consortium's file and the member list are signed by it, and of the name that `consortium.yaml` gives.

    What depends on the time is left to `Installation.check`: an expired certificate keeps no one from revoking a site.

    Raises:
        ConfigError: `consortium.yaml` is wrong.
        TrustError: A rule is broken.
    """
    config, folder = read_consortium_config(config_file), config_file.resolve().parent
    key_file = folder / SIGNING_KEY_FILE
    key = SigningKey.load(key_file)
    if key.public.hex != config.signing_key:
        raise TrustError(f"{key_file}: is another key than {config_file} names; restore both from one backup")
    consortium = _read(folder / BUNDLE_FILE, lambda content: read_consortium(content, key=key.public))
    if consortium.name != config.name:
        raise ConfigError(f"{config_file}: name={config.name}: is {consortium.name}, for good; write that")
    members = _read(
        folder / MEMBERS_FILE, lambda content: read_members(content, key=key.public, consortium=consortium.name)
    )
    return Installation(folder=folder, config=config, signing_key=key, consortium=consortium, members=members)


def publish(installation: Installation) -> None:
    """Write what follows from the rest, and take away what no longer does; nothing where all is there already.

    Raises:
        OSError: The disk is full or the folder cannot be written; the next command writes what is missing.
    """
    folder, present = installation.folder, installation.members.present
    wanted = {folder / ROOTS_FILE: "".join(installation.consortium.roots).encode()}
    for site, member in present.items():
        wanted[node_file(folder, site)] = f"{member.node_key} {site}\n".encode()
        admission = Admission(
            site=site,
            signing_key=member.signing_key,
            node_key=NodePublicKey(member.node_key).fingerprint,
            admitted=member.time,
            expires=as_text(installation.consortium.root.end),
            consortium=installation.consortium,
        )
        wanted[admission_file(folder, site)] = admission.sealed(installation.signing_key)
    _write_where_new(wanted)
    for made in (*folder.glob("nodes/*.pub"), *folder.glob("admissions/*.json")):
        if made not in wanted:
            made.unlink()


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other commands out of a server's folder for the block.

    Raises:
        ConfigError: Another command is at work in it, or there is no such folder.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be opened ({error.strerror}); give --config FILE") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise ConfigError(f"{folder}: another command is at work here; try again when it has ended") from error
    finally:
        os.close(descriptor)


@contextmanager
def serving(folder: Path) -> Iterator[None]:
    """Be the one server of a folder for the block. Other commands may go on meanwhile.

    Raises:
        ConfigError: A server runs in this folder.
    """
    with (folder / _LOCK_FILE).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"{folder}: a server runs in this folder already; end that one first") from error
        yield


def is_served(folder: Path) -> bool:
    """Whether a server runs in this folder now."""
    try:
        with serving(folder):
            return False
    except ConfigError:
        return True


def served_names(config: ConsortiumConfig) -> tuple[str, ...]:
    """By what names and addresses a server is reached, and so what its certificate names."""
    return tuple(dict.fromkeys([*config.hosts, LOOPBACK]))


def node_file(folder: Path, site: str) -> Path:
    """Where a member's public node key lies."""
    return folder / "nodes" / f"{site}.pub"


def admission_file(folder: Path, site: str) -> Path:
    """Where a member's admission lies."""
    return folder / "admissions" / f"{site}.json"


def _write_where_new(wanted: Mapping[Path, bytes]) -> None:
    for path, content in wanted.items():
        if not path.exists() or path.read_bytes() != content:
            write_atomically(path, content)


def _read(path: Path, reader: Callable[[bytes], T]) -> T:
    content = read_file(path)
    try:
        return reader(content)
    except TrustError as error:
        raise TrustError(f"{path}: {error}; restore the newest copy") from error
