"""A site's folder: its keys, what it asked for and what it was answered, and what must hold of it before any is used.

site_key.pem         private: Ed25519, signs the ledger, the log and what is sent
node_key             private: P-384 in OpenSSH form, Flower's
request.json         public: what was sent to the coordinating centre; it also holds fast which server is believed
consortium.json      public: the file that it joined with
admission.json       public: the answer
consortium.crt       public: the roots of the answer, for TLS
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from client.ledger.lost import check_has_log
from client.state_folder import ADMISSION_FILE, KEY_FILE, REQUEST_FILE, ROOTS_FILE
from common.errors import ConfigError, TrustError
from common.trust.admission import Admission, read_admission
from common.trust.consortium import Consortium
from common.trust.envelope import read_file
from common.trust.keys import SigningKey
from common.trust.node_key import NodeKey
from common.trust.request import JoinRequest, read_request

T = TypeVar("T")

NODE_KEY_FILE = "node_key"
BUNDLE_FILE = "consortium.json"


@dataclass(frozen=True, kw_only=True)
class SiteKeys:
    """A site's keys, and what it asked for with them.

    Attributes:
        folder: The site's folder.
        signing_key: Its Ed25519 key.
        node_key: Flower's.
        request: What it asked for.
    """

    folder: Path
    signing_key: SigningKey
    node_key: NodeKey
    request: JoinRequest


@dataclass(frozen=True, kw_only=True)
class SiteIdentity:
    """A member.

    Attributes:
        keys: Its keys.
        admission: What vouches for them.
    """

    keys: SiteKeys
    admission: Admission

    @property
    def name(self) -> str:
        """The site's name."""
        return self.admission.site

    @property
    def consortium(self) -> Consortium:
        """Whom it believes."""
        return self.admission.consortium

    @property
    def node_key_file(self) -> Path:
        """Private node key, for `flower-supernode --auth-supernode-private-key`."""
        return self.keys.folder / NODE_KEY_FILE

    @property
    def roots_file(self) -> Path:
        """Roots, for `flower-supernode --root-certificates`."""
        return self.keys.folder / ROOTS_FILE


def read_keys(folder: Path) -> SiteKeys:
    """The keys in a site's folder.

    1. Each is readable by its owner alone.
    2. The request is signed by both, so that they are those of the site that it names.

    Raises:
        ConfigError: There is no such folder.
        TrustError: A rule is broken.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; wardround site init makes it")
    signing_key, node_key = SigningKey.load(folder / KEY_FILE), NodeKey.load(folder / NODE_KEY_FILE)
    request = read_part(folder / REQUEST_FILE, read_request, remedy="restore it from a backup")
    if (request.signing_key, request.node_key) != (signing_key.public.hex, node_key.public.openssh):
        raise TrustError(f"{folder / REQUEST_FILE}: is of other keys than lie beside it; restore all of one backup")
    return SiteKeys(folder=folder, signing_key=signing_key, node_key=node_key, request=request)


def read_identity(folder: Path, *, now: datetime) -> SiteIdentity:
    """The member whose folder this is.

    1. Its keys hold (`read_keys`).
    2. The admission answers its request, and is signed by the server that the request was for.
    3. The admission and the root in use are valid now.
    4. The file of roots holds the admission's.
    5. The audit log that was begun when it joined is there.

    Raises:
        ConfigError: It has not joined yet.
        TrustError: A rule is broken.
    """
    keys = read_keys(folder)
    path = folder / ADMISSION_FILE
    if not path.exists():
        raise ConfigError(f"{path}: no such file; take the answer of the coordinating centre with wardround site join")
    remedy = "take it again with wardround site join"
    admission = read_part(path, lambda content: read_admission(content, request=keys.request), remedy=remedy)
    check_admission(admission, now)
    if read_file(folder / ROOTS_FILE) != roots_of(admission):
        raise TrustError(f"{folder / ROOTS_FILE}: holds other roots than the admission; {remedy}")
    check_has_log(folder)
    return SiteIdentity(keys=keys, admission=admission)


def check_admission(admission: Admission, now: datetime) -> None:
    """Return where an admission and its root are valid now.

    Raises:
        TrustError: They are not.
    """
    admission.expiry.check(now)
    admission.consortium.expiry.check(now)


def roots_of(admission: Admission) -> bytes:
    """The file of roots that TLS is to believe."""
    return "".join(admission.consortium.roots).encode()


def read_part(path: Path, reader: Callable[[bytes], T], *, remedy: str) -> T:
    """What a signed file says.

    Raises:
        TrustError: It does not hold; the file and the remedy are named.
    """
    content = read_file(path)
    try:
        return reader(content)
    except TrustError as error:
        raise TrustError(f"{path}: {error}; {remedy}") from error
